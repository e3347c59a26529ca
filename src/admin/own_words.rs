//! Owns what a request gets that the HTTP library itself refuses, before any route sees it: the same JSON as every other
//! refusal. Does not own when the library refuses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::server::MAX_HEADER_BYTES;

/// A connection whose first words, if nobody was asked for them, are put into the form of our own.
///
/// The library writes the head of such an answer, without a body, as one piece.
pub(super) struct OwnWords<S> {
    stream: S,
    /// Set as soon as a route is asked: what is written then is ours already.
    asked: Arc<AtomicBool>,
    refusal: Option<Refusal>,
}

struct Refusal {
    bytes: Vec<u8>,
    written: usize,
}

impl<S> OwnWords<S> {
    pub(super) fn new(stream: S, asked: Arc<AtomicBool>) -> Self {
        Self { stream, asked, refusal: None }
    }
}

impl<S: AsyncWrite + Unpin> OwnWords<S> {
    fn poll_refusal(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(refusal) = &mut self.refusal else { return Poll::Ready(Ok(())) };
        while refusal.written < refusal.bytes.len() {
            let rest = &refusal.bytes[refusal.written..];
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            refusal.written += count;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for OwnWords<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for OwnWords<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refusal.is_none() && !self.asked.load(Ordering::Relaxed) {
            self.refusal = in_our_words(bytes).map(|bytes| Refusal { bytes, written: 0 });
        }
        if self.refusal.is_some() {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refusal(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// The head of a refusal with a body that says what is wrong; `None` for anything else.
fn in_our_words(head: &[u8]) -> Option<Vec<u8>> {
    let head = std::str::from_utf8(head).ok()?;
    let status: u16 = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let reason = match status {
        400 => "this is no HTTP/1.1 request, or a part of its head cannot be read".to_owned(),
        414 => "path and query are too long: at most 65,534 bytes are read".to_owned(),
        431 => {
            format!(
                "the head of the request, path and query included, is too large: at most {} KiB are read",
                MAX_HEADER_BYTES >> 10
            )
        }
        401.. => "the request cannot be served".to_owned(),
        _ => return None,
    };
    let body = json!({ "error": reason }).to_string();
    let kept = head.split("\r\n").filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("content-length:")
    });
    let mut answer = String::new();
    let length = format!("content-length: {}", body.len());
    let ours =
        ["content-type: application/json", "cache-control: no-store", "x-content-type-options: nosniff"];
    for line in kept.chain(ours).chain([length.as_str(), ""]) {
        answer.push_str(line);
        answer.push_str("\r\n");
    }
    answer.push_str(&body);
    Some(answer.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_gets_a_body_and_keeps_the_rest_of_its_head() {
        let head =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: today\r\n\r\n";
        let answer = String::from_utf8(in_our_words(head).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\ndate: today\r\n"),
            "{head}"
        );
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("at most 64 KiB"), "{body}");
        assert!(in_our_words(b"HTTP/1.1 200 OK\r\n\r\n").is_none());
        assert!(in_our_words(b"\x16\x03\x01").is_none());
    }
}
