//! Owns what the service manager hears: ready, reloading, stopping, a status line, and that the process is not stuck. Does
//! not own when any of it is true.
//!
//! Protocol: `sd_notify(3)`. Without `NOTIFY_SOCKET` nothing is sent.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Tells the service manager.
pub(super) struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Watchdog>,
    status: String,
}

struct Watchdog {
    limit: Duration,
    last: Option<Instant>,
}

impl Notifier {
    /// As the environment of the process says.
    pub(super) fn of_environment() -> Self {
        let limit = std::env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok());
        let meant_for_us =
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid.parse().ok() == Some(std::process::id()));
        let limit = limit.filter(|_| meant_for_us).map(Duration::from_micros);
        Self::to(std::env::var_os("NOTIFY_SOCKET").as_deref(), limit)
    }

    /// To the socket of this name (`@` begins an abstract one), with a watchdog that wants to hear within `limit`.
    fn to(name: Option<&OsStr>, limit: Option<Duration>) -> Self {
        let socket = name.and_then(|name| {
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(name),
            };
            let socket = UnixDatagram::unbound().and_then(|socket| {
                // A manager that does not listen must not hold us up.
                socket.set_nonblocking(true)?;
                Ok((socket, address?))
            });
            socket.inspect_err(|error| tracing::warn!("cannot speak to the service manager: {error}")).ok()
        });
        let watchdog = limit.filter(|limit| !limit.is_zero()).map(|limit| Watchdog { limit, last: None });
        Self { socket, watchdog, status: String::new() }
    }

    pub(super) fn ready(&self) {
        self.send("READY=1");
    }

    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    pub(super) fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// One line for people, sent when it has changed.
    pub(super) fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            self.send(&format!("STATUS={status}"));
        }
    }

    /// How long a part of the process may be silent before the watchdog is no longer fed.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.watchdog.as_ref().map(|watchdog| watchdog.limit)
    }

    /// Says that the process is alive, as often as the watchdog asks for it.
    pub(super) fn alive(&mut self, now: Instant) {
        let Some(watchdog) = &mut self.watchdog else { return };
        if watchdog.last.is_none_or(|last| now.duration_since(last) >= watchdog.limit / 3) {
            watchdog.last = Some(now);
            self.send("WATCHDOG=1");
        }
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(message.as_bytes(), address)
        {
            tracing::debug!("the service manager did not hear: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 256];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_hears_of_every_turn_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut notifier = Notifier::to(Some(path.as_os_str()), Some(Duration::from_secs(30)));
        notifier.ready();
        assert_eq!(heard(&manager), "READY=1");
        notifier.status("2 running");
        notifier.status("2 running");
        notifier.reloading();
        assert_eq!(heard(&manager), "STATUS=2 running");
        let reloading = heard(&manager);
        let micros = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.parse::<u64>().unwrap() > 0);
        let began = Instant::now();
        notifier.alive(began);
        notifier.alive(began + Duration::from_secs(9));
        notifier.stopping();
        assert_eq!(heard(&manager), "WATCHDOG=1");
        assert_eq!(heard(&manager), "STOPPING=1");
        notifier.alive(began + Duration::from_secs(10));
        assert_eq!(heard(&manager), "WATCHDOG=1");
    }

    #[test]
    fn abstract_names_and_nobody_at_all_are_fine() {
        let name = format!("sluice-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Notifier::to(Some(OsStr::new(&format!("@{name}"))), None).ready();
        assert_eq!(heard(&manager), "READY=1");
        Notifier::to(None, None).ready();
        Notifier::to(Some(OsStr::new("/nowhere/at/all")), None).ready();
    }
}
