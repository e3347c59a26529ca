//! Owns connections: accepting them, their limits, and their end. Does not own what is answered ([`super::routes`]).

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{AdminState, routes};

const MAX_HEADER_BYTES: usize = 64 << 10;
/// Between two attempts to accept while the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Limits {
    /// Further ones wait in the kernel's queue.
    connections: usize,
    /// For the whole of a connection, which carries one request.
    connection_time: Duration,
    /// For connections that are open at shutdown.
    drain_time: Duration,
}

const LIMITS: Limits =
    Limits { connections: 64, connection_time: Duration::from_secs(20), drain_time: Duration::from_secs(3) };

/// Serves the endpoints (HTTP/1, one request a connection) until `shutdown` completes, then lets open connections
/// finish for a moment.
///
/// # Errors
/// When the listener cannot be used. Trouble with single connections is no error.
pub async fn serve(
    listener: TcpListener,
    state: AdminState,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_within(LIMITS, listener, state, shutdown).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    state: AdminState,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let routes = routes::routes(state);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < limits.connections => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(timeout(limits.connection_time, answer(stream, routes.clone())));
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

async fn answer(stream: TcpStream, routes: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
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
    use std::sync::Arc;

    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::admin::snapshot::sample;
    use crate::admin::{AdminCommand, ConnectorAction};
    use crate::metrics::Metrics;

    struct Running {
        address: std::net::SocketAddr,
        commands: mpsc::Receiver<AdminCommand>,
        stop: oneshot::Sender<()>,
        server: tokio::task::JoinHandle<io::Result<()>>,
    }

    fn start(limits: Limits) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, commands) = mpsc::channel(8);
        let state =
            AdminState { snapshot: Arc::new(|| sample("orders")), commands: sender, metrics: Metrics::new() };
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(serve_within(limits, listener, state, async {
            let _ = stopped.await;
        }));
        Running { address, commands, stop, server }
    }

    fn connect(running: &Running, request: &str) -> std::net::TcpStream {
        let mut stream = std::net::TcpStream::connect(running.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    async fn read_all(mut stream: std::net::TcpStream) -> String {
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            // A reset after the answer is the peer's right.
            let _ = stream.read_to_end(&mut bytes);
            String::from_utf8(bytes).unwrap()
        });
        read.await.unwrap()
    }

    #[tokio::test]
    async fn a_connection_carries_one_request() {
        let running = start(LIMITS);
        let request = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        let stream = connect(&running, &request.repeat(2));
        let answer = read_all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    }

    #[tokio::test]
    async fn headers_beyond_the_limit_are_refused() {
        let running = start(LIMITS);
        let header = format!("x: {}\r\n", "a".repeat(MAX_HEADER_BYTES));
        let stream = connect(&running, &format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{header}"));
        let answer = read_all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }

    #[tokio::test]
    async fn a_silent_client_is_cut_off() {
        let running = start(Limits { connection_time: Duration::from_millis(30), ..LIMITS });
        assert_eq!(read_all(connect(&running, "GET /healthz HTTP/1.1\r\n")).await, "");
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait() {
        let mut running = start(Limits { connections: 1, ..LIMITS });
        let mut first = connect(&running, "POST /api/connectors/orders/pause HTTP/1.1\r\n");
        let second = connect(&running, "POST /api/connectors/orders/resume HTTP/1.1\r\nhost: x\r\n\r\n");
        let second = tokio::spawn(read_all(second));
        // Gives the server every chance to answer the second one first.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(running.commands.try_recv().is_err());
        first.write_all(b"host: x\r\n\r\n").unwrap();
        assert!(read_all(first).await.starts_with("HTTP/1.1 202 "));
        assert!(second.await.unwrap().starts_with("HTTP/1.1 202 "));
        assert_eq!(running.commands.recv().await.unwrap().action, ConnectorAction::Pause);
        assert_eq!(running.commands.recv().await.unwrap().action, ConnectorAction::Resume);
    }

    #[tokio::test]
    async fn a_silent_client_does_not_hold_up_the_shutdown() {
        let running = start(Limits { drain_time: Duration::from_millis(30), ..LIMITS });
        let silent = connect(&running, "GET");
        assert!(
            read_all(connect(&running, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")).await.contains(" 200 ")
        );
        running.stop.send(()).unwrap();
        running.server.await.unwrap().unwrap();
        assert_eq!(read_all(silent).await, "");
        assert!(std::net::TcpStream::connect(running.address).is_err());
    }
}
