//! Heads of HTTP/1.1: from bytes to method, path and headers, and what they say of the
//! body and of the connection.
//!
//! Strict where a proxy in front could read a request otherwise (RFC 9112, section 6.3):
//! such a request is refused, and its connection ends.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode, Uri, Version};

/// Most headers of a request.
const HEADERS_MAX: usize = 100;

/// A request's head.
pub struct Head {
    /// Method, target and headers.
    pub parts: Parts,
    /// What follows it.
    pub length: Length,
    /// Whether the client waits for a word before it sends the body.
    pub is_expecting: bool,
    /// Whether the client will send more requests.
    pub keeps_alive: bool,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// So many bytes; 0 if there is no body.
    Known(u64),
    /// Chunks with their lengths before them.
    Chunked,
}

/// Why a request is none, with the status that says so.
pub type Refusal = (StatusCode, &'static str);

const MALFORMED: Refusal = (StatusCode::BAD_REQUEST, "the request's head is malformed");

/// Takes the head off the input; `None` if it is not complete.
///
/// ## Errors
/// What is wrong with it.
pub fn take_head(input: &mut BytesMut) -> Result<Option<Head>, Refusal> {
    // Empty lines before a request are nothing (RFC 9112, section 2.2).
    let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    bytes::Buf::advance(input, blank);
    if input.is_empty() {
        return Ok(None);
    }
    let base = input.as_ptr().addr();
    let at = |part: &[u8]| part.as_ptr().addr() - base;
    let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(input, &mut headers);
    let httparse::Status::Complete(len) = status.map_err(refused)? else { return Ok(None) };
    let method = request.method.ok_or(MALFORMED)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| MALFORMED)?;
    let target = request.path.ok_or(MALFORMED)?.as_bytes();
    let target = at(target)..at(target) + target.len();
    let is_new = request.version == Some(1);
    // Places in the input, since its bytes are about to be shared.
    let mut places = [[0u32; 4]; HEADERS_MAX];
    let count = request.headers.len();
    for (header, place) in request.headers.iter().zip(&mut places) {
        let (name, value) = (header.name.as_bytes(), header.value);
        // A head is far shorter than these numbers reach.
        *place = [at(name), name.len(), at(value), value.len()].map(|number| number as u32);
    }
    let head: Bytes = input.split_to(len).freeze();
    let mut headers = HeaderMap::with_capacity(count);
    for place in &places[..count] {
        let [name, name_len, value, value_len] = place.map(|number| number as usize);
        let name = HeaderName::from_bytes(&head[name..name + name_len]).map_err(|_| MALFORMED)?;
        let value = HeaderValue::from_maybe_shared(head.slice(value..value + value_len));
        headers.append(name, value.map_err(|_| MALFORMED)?);
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = method;
    parts.uri = Uri::from_maybe_shared(head.slice(target)).map_err(|_| MALFORMED)?;
    parts.version = if is_new { Version::HTTP_11 } else { Version::HTTP_10 };
    let length = length(&headers, is_new)?;
    let is_expecting = is_new
        && headers
            .get(EXPECT)
            .is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let keeps_alive = match is_new {
        true => !says(&headers, "close"),
        false => says(&headers, "keep-alive"),
    };
    parts.headers = headers;
    Ok(Some(Head { parts, length, is_expecting, keeps_alive }))
}

fn refused(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::Version => {
            (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
        }
        httparse::Error::TooManyHeaders => {
            (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request has too many headers")
        }
        _ => MALFORMED,
    }
}

/// Whether the header `connection` has an option.
fn says(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|it| it.trim().eq_ignore_ascii_case(option))
}

/// How long the body is.
fn length(headers: &HeaderMap, is_new: bool) -> Result<Length, Refusal> {
    let mut encodings = headers.get_all(TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(encoding) = encodings.next() {
        if !is_new || lengths.next().is_some() || encodings.next().is_some() {
            return Err((StatusCode::BAD_REQUEST, "the body's length is given in two ways"));
        }
        return match encoding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            true => Ok(Length::Chunked),
            false => Err((StatusCode::NOT_IMPLEMENTED, "transfer-encoding is not chunked")),
        };
    }
    let Some(length) = lengths.next() else { return Ok(Length::Known(0)) };
    let wrong = (StatusCode::BAD_REQUEST, "content-length is no number, or several");
    let is_number = length.as_bytes().iter().all(u8::is_ascii_digit);
    let number = length.to_str().ok().filter(|_| is_number).and_then(|text| text.parse().ok());
    match number {
        Some(number) if lengths.all(|other| other == length) => Ok(Length::Known(number)),
        _ => Err(wrong),
    }
}

/// The length of a chunk from its line, which may have extensions.
pub fn chunk_len(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    let is_hexadecimal = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_hexadecimal)?;
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &str) -> Result<Option<Head>, Refusal> {
        take_head(&mut BytesMut::from(text))
    }

    fn code(text: &str) -> u16 {
        take(text).map(|_| ()).unwrap_err().0.as_u16()
    }

    #[test]
    fn heads_are_taken_whole_or_not_at_all() {
        let text = "\r\nPOST /v2/models/m/infer?q HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\
                    X-Two: a\r\nx-two:  b \r\n\r\n";
        for cut in 0..text.len() {
            let mut input = BytesMut::from(&text[..cut]);
            assert!(take_head(&mut input).unwrap().is_none(), "{cut}");
        }
        let mut input = BytesMut::from(format!("{text}abcGET").as_str());
        let head = take_head(&mut input).unwrap().unwrap();
        assert_eq!(&input[..], b"abcGET");
        assert_eq!(
            (head.parts.method, head.parts.uri.path()),
            (Method::POST, "/v2/models/m/infer")
        );
        assert_eq!((head.length, head.keeps_alive), (Length::Known(3), true));
        let two: Vec<_> = head.parts.headers.get_all("x-two").iter().collect();
        assert_eq!(two, ["a", "b"]);
        assert_eq!(head.parts.headers["host"], "x");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        let head = |rest: &str| format!("POST / HTTP/1.1\r\n{rest}\r\n\r\n");
        for (rest, status) in [
            ("content-length: 3\r\ncontent-length: 4", 400),
            ("content-length: +3", 400),
            ("content-length: 3, 3", 400),
            ("content-length: 99999999999999999999", 400),
            ("content-length:", 400),
            ("content-length: 3\r\ntransfer-encoding: chunked", 400),
            ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", 400),
            ("transfer-encoding: gzip, chunked", 501),
            ("transfer-encoding : chunked", 400),
            (" folded", 400),
            ("a\0b: c", 400),
        ] {
            assert_eq!(code(&head(rest)), status, "{rest}");
        }
        assert_eq!(code("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
        assert_eq!(code("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"), 400);
        assert_eq!(code(&head(&["a: b"; HEADERS_MAX + 1].join("\r\n"))), 431);
        let same = take(&head("content-length: 3\r\ncontent-length: 3")).unwrap().unwrap();
        assert_eq!(same.length, Length::Known(3));
        let chunked = take(&head("transfer-encoding: Chunked")).unwrap().unwrap();
        assert_eq!(chunked.length, Length::Chunked);
    }

    #[test]
    fn connections_are_kept_as_both_sides_say() {
        let keeps = |version: &str, rest: &str| {
            take(&format!("GET / HTTP/{version}\r\n{rest}\r\n")).unwrap().unwrap().keeps_alive
        };
        assert!(keeps("1.1", "") && !keeps("1.1", "connection: Upgrade, Close\r\n"));
        assert!(!keeps("1.0", "") && keeps("1.0", "connection: Keep-Alive\r\n"));
    }

    #[test]
    fn lengths_of_chunks_are_hexadecimal() {
        assert_eq!((chunk_len(b"1f\r"), chunk_len(b"A ;name=\"v\"")), (Some(31), Some(10)));
        for wrong in [&b""[..], b"-1", b"+1", b"0x1", b"g", b"11111111111111111", b" ; a"] {
            assert_eq!(chunk_len(wrong), None, "{wrong:?}");
        }
    }
}
