//! Socket tables: /proc/PID/net/{tcp,tcp6,udp,udp6,unix} (proc_net_tcp.rst; net/ipv4/tcp_ipv4.c,
//! get_tcp4_sock; net/unix/af_unix.c, unix_seq_show).
//!
//! procfs's parser is not used: it drops the retransmissions, which tell an unanswered SYN from
//! a fresh one, and gives up the whole table on one unknown state.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `tcp`, `tcp6`, `udp`, `udp6`, `unix`, `unix-dgram`, `unix-seqpacket`.
    pub proto: &'static str,
    /// Own end; empty if not bound.
    pub local: String,
    /// Other end; empty if none.
    pub remote: String,
    /// The state's name.
    pub state: &'static str,
    /// Bytes not acknowledged; for LISTEN the longest accept queue.
    pub send_queue: u64,
    /// Bytes not read; for LISTEN the connections not accepted.
    pub recv_queue: u64,
    /// Retransmissions of the oldest unanswered segment.
    pub retransmits: u64,
    /// The inode, as in `socket:[…]`; 0 = belongs to nobody any more.
    pub inode: u64,
}

/// States of include/net/tcp_states.h, from 1.
const TCP_STATES: [&str; 13] = [
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
    "NEW_SYN_RECV",
    "BOUND_INACTIVE",
];

/// Reads an internet table named `proto`; lines that are not understood are skipped.
pub fn inet<'a>(proto: &'static str, text: &'a [u8]) -> impl Iterator<Item = Entry> + 'a {
    text.split(|b| *b == b'\n').filter_map(move |line| inet_entry(proto, line))
}

fn inet_entry(proto: &'static str, line: &[u8]) -> Option<Entry> {
    // `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next()?.strip_suffix(':')?;
    let local = address(words.next()?)?;
    let remote = address(words.next()?)?;
    let state = usize::from_str_radix(words.next()?, 16).ok()?;
    let (send, recv) = words.next()?.split_once(':')?;
    let _timer = words.next()?;
    let retransmits = u64::from_str_radix(words.next()?, 16).ok()?;
    let inode = words.nth(2)?.parse().ok()?;
    let state = state.checked_sub(1).and_then(|i| TCP_STATES.get(i).copied()).unwrap_or("UNKNOWN");
    Some(Entry {
        proto,
        local: name(local),
        remote: name(remote),
        // A UDP socket without a peer is in state 7, which for TCP is CLOSE.
        state: if proto.starts_with("udp") && state == "CLOSE" { "UNCONNECTED" } else { state },
        send_queue: u64::from_str_radix(send, 16).ok()?,
        recv_queue: u64::from_str_radix(recv, 16).ok()?,
        retransmits,
        inode,
    })
}

/// `0100007F:1F90` or 32 hex digits and a port. The kernel prints addresses as 32-bit words of
/// its own byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut bytes = [0; 16];
            for (part, at) in bytes.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
                part.copy_from_slice(&word(at)?);
            }
            canonical(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// An IPv4 address in IPv6 form is shown as what it is: Go listens on `::` for both.
fn canonical(ip: Ipv6Addr) -> IpAddr {
    ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
}

/// An address for people; nothing at all for "any address, no port".
fn name(address: SocketAddr) -> String {
    if address.ip().is_unspecified() && address.port() == 0 {
        return String::new();
    }
    address.to_string()
}

/// Reads the table of unix sockets.
pub fn unix(text: &[u8]) -> impl Iterator<Item = Entry> + '_ {
    text.split(|b| *b == b'\n').filter_map(unix_entry)
}

fn unix_entry(line: &[u8]) -> Option<Entry> {
    // `Num: RefCount Protocol Flags Type St Inode [Path]`
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_ascii_whitespace();
    words.next()?.strip_suffix(':')?;
    let flags = u32::from_str_radix(words.nth(2)?, 16).ok()?;
    let kind = words.next()?;
    let state = words.next()?;
    let inode = words.next()?.parse().ok()?;
    const ACCEPTING: u32 = 1 << 16;
    Some(Entry {
        proto: match kind {
            "0002" => "unix-dgram",
            "0005" => "unix-seqpacket",
            _ => "unix",
        },
        local: words.next().unwrap_or_default().to_owned(),
        state: match state {
            _ if flags & ACCEPTING != 0 => "LISTEN",
            "01" => "UNCONNECTED",
            "02" => "CONNECTING",
            "03" => "CONNECTED",
            "04" => "DISCONNECTING",
            _ => "UNKNOWN",
        },
        inode,
        ..Entry::default()
    })
}

/// A socket address in a program's memory (`struct sockaddr`): what connect(2) was given.
#[must_use]
pub fn sockaddr(bytes: &[u8]) -> Option<String> {
    const UNIX: u16 = 1;
    const INET: u16 = 2;
    const INET6: u16 = 10;
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    match u16::from_ne_bytes(*family) {
        UNIX => Some(unix_path(rest)),
        INET => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be_bytes(*port)).to_string())
        }
        INET6 => {
            let (port, rest) = rest.split_first_chunk::<2>()?;
            let ip = Ipv6Addr::from(*rest.get(4..)?.first_chunk::<16>()?);
            Some(SocketAddr::new(canonical(ip), u16::from_be_bytes(*port)).to_string())
        }
        other => Some(format!("address family {other}")),
    }
}

/// A path, or `@name` for the abstract namespace.
fn unix_path(bytes: &[u8]) -> String {
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
    };
    match bytes.split_first() {
        Some((0, name)) => format!("@{}", text(name)),
        Some(_) | None => text(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unanswered_connection_shows_its_retransmissions() {
        let text = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
            2: 0C01000A:9CB0 0703000A:1538 02 00000001:00000000 01:00000190 00000003     0        0 77 2 0000000000000000 800 0 0 1 7\n\
            garbage\n   3: zz:1 00:2\n";
        let entries: Vec<Entry> = inet("tcp", text).collect();
        assert_eq!(entries.len(), 1);
        assert_eq!(
            entries[0],
            Entry {
                proto: "tcp",
                local: "10.0.1.12:40112".to_owned(),
                remote: "10.0.3.7:5432".to_owned(),
                state: "SYN_SENT",
                send_queue: 1,
                recv_queue: 0,
                retransmits: 3,
                inode: 77,
            }
        );
    }

    #[test]
    fn ipv6_and_mapped_addresses_are_readable() {
        let check = |text, expected: Option<&str>| {
            assert_eq!(address(text).map(|a| a.to_string()).as_deref(), expected);
        };
        check("00000000000000000000000001000000:1F90", Some("[::1]:8080"));
        check("0000000000000000FFFF00000100007F:1F90", Some("127.0.0.1:8080"));
        check("0100007F:0000", Some("127.0.0.1:0"));
        check("0100007F0:0000", None);
        check("é00007F:0000", None);
    }

    #[test]
    fn unix_sockets_have_states_and_names() {
        let text = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01  8731 /run/x.sock\n\
            0000000000000000: 00000003 00000000 00000000 0001 03  8732\n\
            0000000000000000: 00000002 00000000 00000000 0002 01  8733 @abstract\n";
        let found: Vec<_> = unix(text).map(|e| (e.proto, e.state, e.inode, e.local)).collect();
        assert_eq!(
            found,
            [
                ("unix", "LISTEN", 8731, "/run/x.sock".to_owned()),
                ("unix", "CONNECTED", 8732, String::new()),
                ("unix-dgram", "UNCONNECTED", 8733, "@abstract".to_owned()),
            ]
        );
    }

    #[test]
    fn socket_addresses_in_memory_are_decoded() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(sockaddr(bytes).as_deref(), expected);
        };
        check(&[2, 0, 0x15, 0x38, 10, 0, 3, 7, 0, 0], Some("10.0.3.7:5432"));
        check(b"\x01\x00/run/x.sock\0junk", Some("/run/x.sock"));
        check(b"\x01\x00\0name", Some("@name"));
        check(&[2, 0, 0x15], None);
        check(&[], None);
        check(&[16, 0, 0, 0], Some("address family 16"));
    }
}
