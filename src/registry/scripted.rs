//! Owns a server for tests that answers, or fails to, as the test says. Speaks just enough HTTP; one request a
//! connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use url::Url;

/// A request as it came in.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Path and query.
    pub(super) path: String,
    /// Header lines as sent.
    pub(super) headers: Vec<String>,
    /// What was posted.
    pub(super) body: String,
}

impl Seen {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }
}

/// What the server does with a request.
pub(super) enum Reply {
    /// Status, header lines, body.
    Full(u16, Vec<String>, String),
    /// Promises more bytes than it sends, then hangs up.
    Truncated(String),
    /// A body without end.
    Endless,
    /// No answer until the client gives up.
    Hang,
    /// Hangs up at once.
    Reset,
}

impl Reply {
    pub(super) fn ok(body: impl Into<String>) -> Self {
        Self::Full(200, Vec::new(), body.into())
    }

    pub(super) fn schema(json: &str) -> Self {
        Self::ok(serde_json::json!({ "schema": json }).to_string())
    }

    pub(super) fn error(status: u16, error_code: u32) -> Self {
        Self::Full(status, Vec::new(), format!(r#"{{"error_code":{error_code},"message":"no"}}"#))
    }
}

/// A running server; its thread ends with the process.
pub(super) struct Scripted {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    /// `script` gets each request and its number, from 0.
    pub(super) fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), script)
    }

    pub(super) fn start_at(
        address: SocketAddr,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                thread::spawn(move || {
                    let Some(request) = read_request(&stream) else { return };
                    let number = {
                        let mut log = log.lock().unwrap();
                        log.push(request.clone());
                        log.len() - 1
                    };
                    // A client that hangs up first is no failure of the script.
                    let _ = answer(stream, script(&request, number));
                });
            }
        });
        Self { address, seen }
    }

    pub(super) fn url(&self) -> Url {
        Url::parse(&format!("http://{}/", self.address)).unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let headers = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let mut seen = Seen { path, headers, body: String::new() };
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    reader.take(length).read_to_string(&mut seen.body).ok()?;
    Some(seen)
}

fn answer(mut stream: TcpStream, reply: Reply) -> std::io::Result<()> {
    match reply {
        Reply::Full(status, headers, body) => {
            let headers = headers.into_iter().fold(String::new(), |block, line| block + &line + "\r\n");
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
        }
        Reply::Truncated(body) => {
            let length = body.len() + 100;
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        }
        Reply::Endless => {
            write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")?;
            let spaces = vec![b' '; 64 << 10];
            loop {
                stream.write_all(&spaces)?;
            }
        }
        Reply::Hang => stream.read_to_end(&mut Vec::new()).map(|_| ()),
        Reply::Reset => Ok(()),
    }
}
