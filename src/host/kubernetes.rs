//! What Kubernetes tells a container about itself: the downward API's variables, OpenTelemetry's
//! resource attributes, and the mount of the termination message, whose source names pod and
//! container (kubelet, `…/pods/<uid>/containers/<name>/<hash>`).

use super::files::Root;
use crate::linux::mountinfo;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Keys of the start record.
pub type Attributes = BTreeMap<&'static str, String>;

/// Variables of the downward API as Pod authors commonly name them.
const VARIABLES: [(&str, &str); 5] = [
    ("POD_NAME", "k8s.pod.name"),
    ("POD_NAMESPACE", "k8s.namespace.name"),
    ("POD_UID", "k8s.pod.uid"),
    ("NODE_NAME", "k8s.node.name"),
    ("CONTAINER_NAME", "k8s.container.name"),
];

/// Where the kubelet mounts the termination message unless the Pod says otherwise.
const MESSAGE: &str = "/dev/termination-log";
/// Longest mountinfo that is looked through.
const MOUNTINFO_MAX: usize = 1 << 20;

/// Reads the variables.
pub fn attributes(variable: impl Fn(&str) -> Option<String>) -> Attributes {
    let mut found = Attributes::new();
    let resource = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    for (name, key) in VARIABLES {
        let own = variable(name).filter(|value| !value.is_empty());
        let listed = || {
            let pair = resource.split(',').find_map(|pair| pair.trim().strip_prefix(key));
            pair.and_then(|rest| rest.strip_prefix('=')).map(str::to_owned)
        };
        if let Some(value) = own.or_else(listed) {
            found.insert(key, value);
        }
    }
    found
}

/// The file of the termination message: the usual one if it is there, else the one Kubernetes
/// mounted under another name. What its mount tells of pod and container is added.
pub fn termination_file(root: &Root, attributes: &mut Attributes) -> Option<PathBuf> {
    let usual = PathBuf::from(MESSAGE);
    // Without Kubernetes there is neither file nor mount, and mountinfo need not be read.
    let there = root.metadata(&usual).is_ok();
    if !there && std::env::var_os("KUBERNETES_SERVICE_HOST").is_none() {
        return None;
    }
    let mut buffer = Vec::new();
    let text = root.read(b"/proc/self/mountinfo", MOUNTINFO_MAX, &mut buffer).unwrap_or_default();
    let mount = mountinfo::mounts(text).find_map(|mount| {
        let (uid, container) = pod_mount(&mount.root)?;
        Some((mount.point.into_owned(), uid, container))
    });
    let Some((point, uid, container)) = mount else { return there.then_some(usual) };
    attributes.entry("k8s.pod.uid").or_insert(uid);
    attributes.entry("k8s.container.name").or_insert(container);
    Some(if there { usual } else { PathBuf::from(std::ffi::OsStr::from_bytes(&point)) })
}

/// Pod uid and container name of a mount root `…/pods/<uid>/containers/<name>/<hash>`.
fn pod_mount(source: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(source).ok()?;
    let (_, rest) = text.rsplit_once("/pods/")?;
    let mut parts = rest.split('/');
    let (uid, word, name, hash) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let whole =
        word == "containers" && !uid.is_empty() && !hash.is_empty() && parts.next().is_none();
    whole.then(|| (uid.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_the_message_names_pod_and_container() {
        let root = b"/var/lib/kubelet/pods/1f0c-77/containers/migrate/5b3c9d2a";
        assert_eq!(pod_mount(root), Some(("1f0c-77".into(), "migrate".into())));
        assert_eq!(pod_mount(b"/var/lib/kubelet/pods/1f0c-77/volumes/x/y"), None);
        assert_eq!(pod_mount(b"/"), None);
    }

    #[test]
    fn resource_attributes_stand_in_for_missing_variables() {
        let found = attributes(|name| match name {
            "POD_NAME" => Some("api-1".into()),
            "OTEL_RESOURCE_ATTRIBUTES" => {
                Some("k8s.pod.name=no, k8s.namespace.name=shop,service.name=x".into())
            }
            _ => None,
        });
        assert_eq!(found.get("k8s.pod.name").map(String::as_str), Some("api-1"));
        assert_eq!(found.get("k8s.namespace.name").map(String::as_str), Some("shop"));
        assert_eq!(found.len(), 2);
    }
}
