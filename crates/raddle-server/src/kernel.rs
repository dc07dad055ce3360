//! What the kernel knows of this process and its sockets, from `/proc`.
//!
//! *Source:* proc(5); `TcpExt` of `/proc/net/netstat`; `/proc/net/tcp`, where a
//! listening socket's receive queue is the number of connections that wait.

use std::fs::read_to_string;

/// Connections that never reached a listener, in this network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenDrops {
    /// Times that a listen queue was full.
    pub overflows: u64,
    /// Connections that were dropped, for this and other reasons.
    pub drops: u64,
}

/// Counters of full listen queues.
pub fn listen_drops() -> Option<ListenDrops> {
    parse_drops(&read_to_string("/proc/net/netstat").ok()?)
}

fn parse_drops(text: &str) -> Option<ListenDrops> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let names: Vec<&str> = lines.next()?.split_whitespace().collect();
    let values: Vec<&str> = lines.next()?.split_whitespace().collect();
    let find = |name| {
        let at = names.iter().position(|own| *own == name)?;
        values.get(at)?.parse().ok()
    };
    Some(ListenDrops { overflows: find("ListenOverflows")?, drops: find("ListenDrops")? })
}

/// Connections that wait at the listener of a port.
pub fn listen_queue(port: u16) -> Option<u64> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    tables.iter().find_map(|table| parse_queue(&read_to_string(table).ok()?, port))
}

fn parse_queue(text: &str, port: u16) -> Option<u64> {
    text.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (local, state) = (fields.next()?, fields.nth(1)?);
        let own = u16::from_str_radix(local.rsplit(':').next()?, 16).ok()?;
        let (_, receive) = fields.next()?.split_once(':')?;
        let is_listening = state == "0A" && own == port;
        is_listening.then(|| u64::from_str_radix(receive, 16).ok()).flatten()
    })
}

/// Most connections that the kernel lets wait at a listener, whatever it asks for.
pub fn backlog_max() -> Option<u64> {
    read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// Main memory in use and in all.
pub fn memory() -> Option<(u64, u64)> {
    let text = read_to_string("/proc/meminfo").ok()?;
    let find = |name: &str| kib(&text, name);
    let total = find("MemTotal:")?;
    Some((total.saturating_sub(find("MemAvailable:")?), total))
}

/// Memory of this process.
pub fn resident_bytes() -> Option<u64> {
    kib(&read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read() {
        let netstat =
            "TcpExt: A ListenOverflows ListenDrops B\nTcpExt: 1 23 45 6\nIpExt: C\nIpExt: 7\n";
        assert_eq!(parse_drops(netstat), Some(ListenDrops { overflows: 23, drops: 45 }));
        assert_eq!(parse_drops("IpExt: C\n"), None);
        let tcp = "  sl  local_address rem_address   st tx_queue rx_queue\n\
            0: 0100007F:1F40 00000000:0000 0A 00000080:00000005 00:0 0 0 0 1\n\
            1: 0100007F:1F41 0100007F:9999 01 00000000:00000007 00:0 0 0 0 2\n";
        assert_eq!((parse_queue(tcp, 8000), parse_queue(tcp, 8001)), (Some(5), None));
    }

    #[test]
    fn connections_that_wait_are_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(listen_queue(port), Some(0));
        let _waiting = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(listen_queue(port), Some(1));
        assert!(listen_drops().is_some() && memory().is_some() && resident_bytes().is_some());
    }
}
