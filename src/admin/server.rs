//! Owns connections: accepting them, TLS, their limits, and their end. Does not own what is answered ([`super::routes`]).

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::own_words::OwnWords;
use super::{AdminState, TlsListener, routes};

/// Of a request, with its first line.
pub(super) const MAX_HEADER_BYTES: usize = 64 << 10;
/// Between two attempts to accept while the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Limits {
    /// A further one ends the oldest that has not asked for anything yet, so that whoever holds connections open cannot keep
    /// a probe out.
    connections: usize,
    /// How long nobody is held against a connection that it has not asked yet: however many come, each gets to speak.
    courtesy: Duration,
    /// For the handshake and the head of the request.
    asking_time: Duration,
    /// For the whole of a connection, which carries one request.
    connection_time: Duration,
    /// For connections that are open at shutdown.
    drain_time: Duration,
}

const LIMITS: Limits = Limits {
    connections: 128,
    courtesy: Duration::from_millis(500),
    asking_time: Duration::from_secs(5),
    connection_time: Duration::from_secs(20),
    drain_time: Duration::from_secs(3),
};

/// Serves the endpoints (HTTP/1, one request a connection; over TLS where `tls` is given) until `shutdown` completes, then
/// lets open connections finish for a moment.
///
/// # Errors
/// When the listener cannot be used. Trouble with single connections is no error.
pub async fn serve(
    listener: TcpListener,
    state: AdminState,
    tls: Option<TlsListener>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_within(LIMITS, listener, state, tls, shutdown).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    state: AdminState,
    tls: Option<TlsListener>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let routes = routes::routes(state);
    let mut connections = JoinSet::new();
    let mut guests = Guests::default();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(ended) = connections.join_next_with_id() => {
                guests.leave(ended.map_or_else(|error| error.id(), |(id, _)| id));
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    guests.make_room(limits, Instant::now());
                    let asked = Arc::new(AtomicBool::new(false));
                    let visit = visit(stream, tls.clone(), routes.clone(), limits, asked.clone());
                    guests.enter(connections.spawn(timeout(limits.connection_time, visit)), asked);
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    warn!(%error, "cannot accept connections for the admin endpoints");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    // What is still open after that ends with the set.
    let _ = timeout(limits.drain_time, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// Open connections, the oldest first.
#[derive(Default)]
struct Guests(VecDeque<Guest>);

struct Guest {
    handle: AbortHandle,
    asked: Arc<AtomicBool>,
    came: Instant,
}

impl Guests {
    fn enter(&mut self, handle: AbortHandle, asked: Arc<AtomicBool>) {
        self.0.push_back(Guest { handle, asked, came: Instant::now() });
    }

    fn leave(&mut self, id: tokio::task::Id) {
        self.0.retain(|guest| guest.handle.id() != id);
    }

    /// Ends the oldest that has had time to ask and has not, else the oldest, if there are as many as may be.
    fn make_room(&mut self, limits: Limits, now: Instant) {
        if self.0.len() < limits.connections {
            return;
        }
        let keeps_silent = |guest: &Guest| {
            !guest.asked.load(Ordering::Relaxed) && now.duration_since(guest.came) >= limits.courtesy
        };
        let silent = self.0.iter().position(keeps_silent);
        if let Some(guest) = self.0.remove(silent.unwrap_or(0)) {
            guest.handle.abort();
        }
    }
}

async fn visit(
    stream: TcpStream,
    tls: Option<TlsListener>,
    routes: Router,
    limits: Limits,
    asked: Arc<AtomicBool>,
) {
    let Some(tls) = tls else { return answer(stream, routes, limits, asked).await };
    match timeout(limits.asking_time, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, routes, limits, asked).await,
        Ok(Err(error)) => debug!(%error, "an admin connection failed its TLS handshake"),
        Err(_) => {}
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    routes: Router,
    limits: Limits,
    asked: Arc<AtomicBool>,
) {
    let stream = OwnWords::new(stream, asked.clone());
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.asking_time)
        .keep_alive(false)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%error, "an admin connection ended early");
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use tokio::sync::oneshot;

    use super::*;
    use crate::admin::testing::{Behind, state};
    use crate::admin::{AdminCommand, ConnectorAction};

    /// Nothing here takes so long unless it never ends.
    const PATIENCE: Duration = Duration::from_secs(30);
    const FOR_EVER: Duration = Duration::from_secs(3600);
    /// Without an end by time.
    const PATIENT: Limits =
        Limits { asking_time: FOR_EVER, connection_time: FOR_EVER, drain_time: FOR_EVER, ..LIMITS };

    struct Running {
        address: std::net::SocketAddr,
        behind: Behind,
        stop: oneshot::Sender<()>,
        server: tokio::task::JoinHandle<io::Result<()>>,
    }

    fn start(limits: Limits) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, behind) = state("{}", 8);
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve_within(limits, listener, state, None, async {
            let _ = stopped.await;
        }));
        Running { address, behind, stop, server }
    }

    fn connect(running: &Running, request: &str) -> std::net::TcpStream {
        let mut stream = std::net::TcpStream::connect(running.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// What comes until the server hangs up.
    async fn read_all(mut stream: std::net::TcpStream) -> String {
        let read = tokio::task::spawn_blocking(move || {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = Vec::new();
            // A reset after the answer is the peer's right.
            let outcome = stream.read_to_end(&mut bytes).map_err(|error| error.kind());
            assert_ne!(outcome, Err(io::ErrorKind::WouldBlock), "nobody hung up");
            String::from_utf8(bytes).unwrap()
        });
        read.await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_carries_one_request() {
        let running = start(LIMITS);
        let request = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let stream = connect(&running, &request.repeat(2));
        let answer = read_all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    }

    #[tokio::test]
    async fn headers_beyond_the_limit_are_refused() {
        let running = start(LIMITS);
        let header = format!("x: {}\r\n", "a".repeat(MAX_HEADER_BYTES));
        let stream = connect(&running, &format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{header}"));
        let answer = read_all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert_eq!(
            error_of(&answer),
            "the head of the request, path and query included, is too large: at most 64 KiB are read"
        );
    }

    /// What an answer says in the one shape of errors.
    fn error_of(answer: &str) -> String {
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("\r\ncontent-type: application/json\r\n"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        body["error"].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn what_no_route_ever_sees_is_refused_in_the_same_shape() {
        let running = start(LIMITS);
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEADER_BYTES));
        for (request, status) in [
            ("hello\r\n\r\n", "400"),
            ("GET / HTTP/3.7\r\n\r\n", "400"),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
            ("POST / HTTP/1.1\r\ncontent-length: many\r\n\r\n", "400"),
            ("\u{16}\u{3}\u{1}\r\n\r\n", "400"),
            // Nobody waits for what will not be read; without a length it is read as far as it may be.
            ("POST /api/reload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 70000\r\n\r\n", "413"),
            // Which of the two says it depends on how it comes in.
            (long.as_str(), "4[13][14]"),
        ] {
            let status = regex::Regex::new(&format!("^HTTP/1.1 {status} ")).unwrap();
            let answer = read_all(connect(&running, request)).await;
            assert!(status.is_match(&answer), "{request:.40}: {answer}");
            let said = error_of(&answer);
            assert!(
                ["this is no", "path and query", "the head of", "the body is"]
                    .iter()
                    .any(|known| said.starts_with(known)),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn a_silent_client_is_cut_off() {
        let soon = Duration::from_millis(30);
        for limits in [Limits { connection_time: soon, ..PATIENT }, Limits { asking_time: soon, ..PATIENT }] {
            let running = start(limits);
            assert_eq!(read_all(connect(&running, "GET /healthz HTTP/1.1\r\n")).await, "");
        }
    }

    #[tokio::test]
    async fn a_handshake_that_does_not_begin_is_cut_off() {
        let running = start_tls_within(Limits { asking_time: Duration::from_millis(30), ..PATIENT });
        let silent = std::net::TcpStream::connect(running.address).unwrap();
        assert_eq!(read_all(silent).await, "");
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_before_the_shutdown() {
        let mut running = start(LIMITS);
        let asking = connect(&running, "POST /api/reload HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let Some(AdminCommand::Reload { reply }) = running.behind.commands.recv().await else { panic!() };
        running.stop.send(()).unwrap();
        // The door is shut once nobody can connect any more.
        while std::net::TcpStream::connect(running.address).is_ok() {
            tokio::task::yield_now().await;
        }
        reply.send(Err(vec!["no".to_owned()])).unwrap();
        assert!(read_all(asking).await.starts_with("HTTP/1.1 422 "));
        running.server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_silent_client_gives_way_to_one_that_asks() {
        let mut running = start(Limits { connections: 2, ..LIMITS });
        let silent: Vec<_> =
            (0..50).map(|_| connect(&running, "POST /api/connectors/orders/pause HTTP/1.1\r\n")).collect();
        let asking =
            connect(&running, "POST /api/connectors/orders/flush HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let (answer, asked) = tokio::join!(read_all(asking), running.behind.answer(Ok(())));
        assert!(answer.starts_with("HTTP/1.1 202 "));
        assert_eq!(asked.1, ConnectorAction::Flush);
        // Those that had to go were told nothing, and did nothing.
        let mut silent = silent.into_iter();
        assert_eq!(read_all(silent.next().unwrap()).await, "");
        assert!(running.behind.commands.try_recv().is_err());
    }

    #[tokio::test]
    async fn whoever_has_just_come_does_not_give_way_to_those_who_asked_and_never_read() {
        let (limits, now) = (Limits { connections: 3, ..LIMITS }, Instant::now());
        let mut guests = Guests::default();
        let mut enter = |asked, age| {
            let handle = tokio::spawn(std::future::pending::<()>()).abort_handle();
            let (asked, came) = (Arc::new(AtomicBool::new(asked)), now.checked_sub(age).unwrap());
            guests.0.push_back(Guest { handle: handle.clone(), asked, came });
            handle.id()
        };
        let [first, second] = [5, 4].map(|age| enter(true, Duration::from_secs(age)));
        let young = enter(false, Duration::from_millis(1));
        let left = |guests: &Guests| guests.0.iter().map(|guest| guest.handle.id()).collect::<Vec<_>>();
        guests.make_room(limits, now);
        assert_eq!(left(&guests), [second, young], "not {first:?}");
        // Later it is the one that keeps silent.
        guests.make_room(Limits { connections: 2, ..LIMITS }, now + LIMITS.courtesy);
        assert_eq!(left(&guests), [second]);
    }

    #[tokio::test]
    async fn the_certificate_is_served_and_can_be_changed() {
        let running = start_tls();
        let client = |certificate: &str| {
            let root = reqwest::Certificate::from_pem(certificate.as_bytes()).unwrap();
            reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap()
        };
        let url = format!("https://localhost:{}/healthz", running.address.port());
        assert!(client(FIRST.0).get(&url).send().await.unwrap().status().is_success());
        assert!(client(SECOND.0).get(&url).send().await.is_err());
        let (_folder, files) = written(SECOND);
        running.tls.reload(&files).unwrap();
        assert!(client(SECOND.0).get(&url).send().await.unwrap().status().is_success());
        let wrong = crate::config::settings::TlsFiles { key: files.certificate.clone(), ..files };
        let reason = running.tls.reload(&wrong).unwrap_err();
        assert!(reason.contains("holds no PEM private key"), "{reason}");
        assert!(client(SECOND.0).get(&url).send().await.unwrap().status().is_success());
    }

    #[tokio::test]
    async fn a_silent_client_does_not_hold_up_the_shutdown() {
        let running = start(Limits { drain_time: Duration::from_millis(30), ..PATIENT });
        let silent = connect(&running, "GET");
        assert!(
            read_all(connect(&running, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"))
                .await
                .contains(" 200 ")
        );
        running.stop.send(()).unwrap();
        timeout(PATIENCE, running.server).await.expect("it ends").unwrap().unwrap();
        assert_eq!(read_all(silent).await, "");
        assert!(std::net::TcpStream::connect(running.address).is_err());
    }

    /// Self-signed for `localhost`, made by `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 36500
    /// -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE`: certificate and
    /// key. Of no value to anybody.
    const FIRST: (&str, &str) = (include_str!("testing/first.pem"), include_str!("testing/first.key"));
    const SECOND: (&str, &str) = (include_str!("testing/second.pem"), include_str!("testing/second.key"));

    struct RunningTls {
        address: std::net::SocketAddr,
        tls: TlsListener,
        _behind: Behind,
    }

    fn start_tls() -> RunningTls {
        start_tls_within(LIMITS)
    }

    fn start_tls_within(limits: Limits) -> RunningTls {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (state, behind) = state("{}", 8);
        let (_folder, files) = written(FIRST);
        let tls = TlsListener::load(&files).unwrap();
        tokio::spawn(serve_within(limits, listener, state, Some(tls.clone()), std::future::pending()));
        RunningTls { address, tls, _behind: behind }
    }

    fn written(pair: (&str, &str)) -> (tempfile::TempDir, crate::config::settings::TlsFiles) {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("server.pem"), folder.path().join("server.key"));
        std::fs::write(&certificate, pair.0).unwrap();
        std::fs::write(&key, pair.1).unwrap();
        (folder, crate::config::settings::TlsFiles { certificate, key })
    }
}
