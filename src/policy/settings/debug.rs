//! GODEBUG: what the user wrote and what goinit adds, in one variable.

/// GODEBUG as it is put together: the user's items, then ours where the user has none.
pub(super) struct Debug {
    items: Vec<(String, String)>,
    /// What the user wrote, to be kept as it is.
    user: String,
    user_keys: Vec<(String, String)>,
}

impl Debug {
    pub(super) fn of(user: Option<String>, warnings: &mut Vec<String>) -> Self {
        let user = user.unwrap_or_default();
        let blank = |item: &str| item.contains(|c: char| c.is_ascii_whitespace());
        let kept: Vec<&str> = user.split(',').filter(|item| !blank(item)).collect();
        let kept = kept.join(",");
        if let Some(item) = user.split(',').find(|item| blank(item)) {
            // "a=1, b=2": Go takes " b" for a key it does not know, so nothing is lost.
            warnings.push(format!(
                "GODEBUG={user:?} in the environment has a blank in {item:?}, which Go ignores \
                 silently"
            ));
        }
        let user_keys = kept
            .split(',')
            .filter_map(|item| item.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Self { items: Vec::new(), user: kept, user_keys }
    }

    fn user_value(&self, key: &str) -> Option<&str> {
        let found = self.user_keys.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether the user switched something on or off; nothing if the key is not there.
    pub(super) fn user_says(&self, key: &str) -> Option<bool> {
        self.user_value(key).map(|value| value != "0")
    }

    /// Adds a key unless the user set it; one that holds a blank or a comma is left out.
    pub(super) fn add(&mut self, key: &str, value: &str) {
        let odd = |c: char| c.is_whitespace() || c == ',';
        let known = self.items.iter().any(|(name, _)| name == key);
        if self.user_value(key).is_none() && !known && !key.contains(odd) && !value.contains(odd) {
            self.items.push((key.to_owned(), value.to_owned()));
        }
    }

    /// The whole value, if it differs from what the user set.
    pub(super) fn finish(self) -> Option<String> {
        if self.items.is_empty() {
            return None;
        }
        let mut out = self.user.trim_end_matches(',').to_owned();
        for (key, value) in self.items {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(&key);
            out.push('=');
            out.push_str(&value);
        }
        Some(out)
    }
}
