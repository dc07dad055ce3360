//! Opening a socket.
//! expect: it asks the operating system
use raddle::prelude::*;

#[kernel]
pub fn tcp_connect(mut out: PerThread<u32>) {
    if let Some((_, out)) = out.mine() {
        *out = u32::from(std::net::TcpStream::connect("127.0.0.1:80").is_ok()); //~ HERE
    }
}
