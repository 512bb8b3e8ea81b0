//! One socket out of the kernel's socket tables, as a sentence's object (proc(5), `/proc/net`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names of `st` (include/net/tcp_states.h).
const STATES: [&str; 12] = [
    "?",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
];

/// The socket with this inode in the text of the table called `name`, for example
/// `tcp 10.0.0.1:40112 -> 10.0.3.7:5432 SYN_SENT`.
#[must_use]
pub fn describe(name: &str, table: &str, inode: &str) -> Option<String> {
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        if name == "unix" {
            let path = words.get(7).copied().unwrap_or("(unnamed)");
            return (words.get(6) == Some(&inode)).then(|| format!("unix {path}"));
        }
        if words.get(9) != Some(&inode) {
            return None;
        }
        let state = u8::from_str_radix(words.get(3)?, 16).ok()?;
        let state = STATES.get(usize::from(state)).copied().unwrap_or("?");
        let (local, remote) = (address(words.get(1)?)?, address(words.get(2)?)?);
        Some(if state == "LISTEN" {
            format!("{name} {local} LISTEN")
        } else {
            format!("{name} {local} -> {remote} {state}")
        })
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080: groups of four bytes in the machine's (little) order.
fn address(text: &str) -> Option<String> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::new();
    for group in host.as_bytes().chunks(8) {
        let group = u32::from_str_radix(std::str::from_utf8(group).ok()?, 16).ok()?;
        bytes.extend_from_slice(&group.to_le_bytes());
    }
    let host = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(bytes.first_chunk::<4>().copied()?)),
        16 => IpAddr::from(Ipv6Addr::from(bytes.first_chunk::<16>().copied()?)),
        _ => return None,
    };
    Some(std::net::SocketAddr::new(host, port).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_inode() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   0: 0100007F:1F90 \
                     0200007F:D431 02 00000000:00000000 00:00000000 00000000     0        0 4711 1\n";
        assert_eq!(
            describe("tcp", table, "4711").as_deref(),
            Some("tcp 127.0.0.1:8080 -> 127.0.0.2:54321 SYN_SENT")
        );
        assert_eq!(describe("tcp", table, "4712"), None);
        assert_eq!(describe("tcp", "\n:::\n0: 1 2 3", "x"), None);
    }
}
