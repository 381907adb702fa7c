//! The run's side of the control socket: a thread that accepts, and one for each client.
//!
//! A client's thread only reads, asks and writes; what is asked is done by whoever watches the run. So a
//! client that is slow, or never reads, holds up nobody but itself.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::Mode;
use rustix::process::umask;

use super::ControlError;
use super::protocol::{Answer, MAX_LINE, Request};

/// The longest path that a socket's address holds, with its end (unix(7)).
pub(super) const MAX_PATH: usize = 107;
/// Most clients at a time.
const MAX_CLIENTS: usize = 16;
/// How long a client may take to read an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does what a client asks for.
type Handler = dyn Fn(Request) -> Answer + Send + Sync;

/// A socket that is listened to. Dropping it answers what was asked, and removes it.
pub struct Server {
    path: PathBuf,
    /// Written to when the server is to end.
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `path`, where nothing may be but a killed run's socket; only this user may connect. `handler` is called from
    /// several threads.
    ///
    /// # Errors
    /// There is something at `path`, or nothing can be.
    pub fn start(
        path: &Path,
        handler: impl Fn(Request) -> Answer + Send + Sync + 'static,
    ) -> Result<Self, ControlError> {
        let serve = |error| ControlError::Serve(path.to_owned(), error);
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|error| serve(error.into()))?);
        let listener = bind(path)?;
        let mut server = Self { path: path.to_owned(), stop: Arc::clone(&stop), thread: None };
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = Builder::new().name("control".into()).spawn(move || accept(&listener, &stop, &handler));
        server.thread = Some(thread.map_err(serve)?);
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
        if let Err(error) = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes()) {
            log::warn!("cannot end the control socket's thread: {error}");
            return;
        }
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn bind(path: &Path) -> Result<UnixListener, ControlError> {
    if path.as_os_str().as_bytes().len() > MAX_PATH {
        return Err(ControlError::TooLong(path.to_owned()));
    }
    let listener = match listen_at(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            listen_at(path)
        }
        listener => listener,
    };
    listener.map_err(|error| ControlError::Listen { path: path.to_owned(), error })
}

fn listen_at(path: &Path) -> io::Result<UnixListener> {
    // The mode that the socket's file gets when it is made: before anyone could connect.
    let others = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    umask(others);
    listener
}

/// Removes what is at `path` if it is a socket where nobody listens any more: a run that was killed leaves it.
fn remove_stale(path: &Path) -> Result<(), ControlError> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    match UnixStream::connect(path) {
        Ok(_) => Err(ControlError::InUse(path.to_owned())),
        Err(error) if is_socket && error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|error| ControlError::Listen { path: path.to_owned(), error })
        }
        Err(_) => Err(ControlError::Exists(path.to_owned())),
    }
}

/// A client: its socket, to end its thread's reading, and that thread.
type Client = (UnixStream, JoinHandle<()>);

fn accept(listener: &UnixListener, stop: &OwnedFd, handler: &Arc<Handler>) {
    let mut clients: Vec<Client> = Vec::new();
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        if let Err(error) = poll(&mut ready, None)
            && error != rustix::io::Errno::INTR
        {
            log::warn!("the control socket is closed: {error}");
            break;
        }
        if !ready[1].revents().is_empty() {
            break;
        }
        if !ready[0].revents().is_empty() {
            clients.retain(|(_, thread)| !thread.is_finished());
            match listener.accept().and_then(|(stream, _)| welcome(stream, clients.len(), handler)) {
                Ok(client) => clients.extend(client),
                Err(error) => {
                    log::warn!("a client of the control socket was turned away: {error}");
                    // Such as when no descriptor is left: it would be accepted again at once.
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        }
    }
    for (stream, thread) in clients {
        // It is told what it asked, and not heard any more. An error means that it is gone.
        let _ = stream.shutdown(Shutdown::Read);
        let _ = thread.join();
    }
}

/// Starts a client's thread, unless there are too many.
fn welcome(stream: UnixStream, others: usize, handler: &Arc<Handler>) -> io::Result<Option<Client>> {
    stream.set_write_timeout(Some(PATIENCE))?;
    if others >= MAX_CLIENTS {
        let refusal = Answer::Error(format!("{MAX_CLIENTS} clients are connected: close one"));
        (&stream).write_all(refusal.line().as_bytes())?;
        return Ok(None);
    }
    let (own, handler) = (stream.try_clone()?, Arc::clone(handler));
    let thread = Builder::new().name("control-client".into()).spawn(move || {
        if let Err(error) = converse(&own, &*handler) {
            log::info!("a client of the control socket is gone: {error}");
        }
        // The other clone keeps it open.
        let _ = own.shutdown(Shutdown::Both);
    })?;
    Ok(Some((stream, thread)))
}

/// Answers a client's lines until it has no more.
fn converse(stream: &UnixStream, handler: &Handler) -> io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut line = Vec::with_capacity(MAX_LINE + 1);
    loop {
        line.clear();
        let read = (&mut reader).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        let whole = line.len() <= MAX_LINE;
        let answer = match Request::parse(&line) {
            _ if !whole => Answer::Error(format!("a request has at most {MAX_LINE} bytes")),
            Ok(request) => handler(request),
            Err(error) => Answer::Error(error),
        };
        writer.write_all(answer.line().as_bytes())?;
        if !whole {
            // Where the next line starts is not known.
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::channel;

    use super::*;
    use crate::control;

    fn socket(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("socket")
    }

    /// A server that answers each request with its name.
    fn echo(path: &Path) -> Server {
        Server::start(path, |request| Answer::Error(format!("{request:?}"))).expect("a socket")
    }

    fn lines(stream: &UnixStream, count: usize) -> Vec<String> {
        let lines = BufReader::new(stream).lines().take(count);
        lines.map(|line| line.expect("an answer")).collect()
    }

    #[test]
    fn several_requests_on_several_connections_are_answered_in_their_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = echo(&socket(&folder));
        let clients = [0, 1].map(|_| UnixStream::connect(socket(&folder)).expect("a listener"));
        for mut client in &clients {
            client.write_all(b"{\"command\":\"pause\"}\nnonsense\n{\"command\":\"stop\"}\n").expect("sent");
        }
        for client in &clients {
            let answers = lines(client, 3);
            assert_eq!((&*answers[0], &*answers[2]), (r#"{"error":"Pause"}"#, r#"{"error":"Stop"}"#));
            assert!(answers[1].contains("not a request"), "{answers:?}");
        }
        drop(server);
        assert!(!socket(&folder).exists());
    }

    #[test]
    fn a_line_without_end_is_refused_before_it_takes_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let _server = echo(&socket(&folder));
        let client = UnixStream::connect(socket(&folder)).expect("a listener");
        let flood = std::thread::scope(|scope| {
            let flood = scope.spawn(|| (&client).write_all(&vec![b' '; 64 << 20]));
            assert!(lines(&client, 1)[0].contains("at most 4096 bytes"));
            flood.join().expect("no panic")
        });
        assert!(flood.is_err(), "nobody reads the rest");
    }

    #[test]
    fn a_client_that_never_reads_holds_up_neither_the_others_nor_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = echo(&socket(&folder));
        let mut deaf = UnixStream::connect(socket(&folder)).expect("a listener");
        deaf.set_nonblocking(true).expect("a socket");
        while deaf.write(b"{\"command\":\"status\"}\n").is_ok() {}
        let answer = control::ask(&socket(&folder), &Request::Pause);
        assert_eq!(answer.expect_err("an error is an error").to_string(), "Pause");
        let (ended, end) = channel();
        std::thread::spawn(move || {
            drop(server);
            ended.send(()).expect("the test waits");
        });
        end.recv_timeout(Duration::from_secs(60)).expect("it ends");
    }

    #[test]
    fn a_socket_that_a_killed_run_left_is_taken_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = socket(&folder);
        drop(UnixListener::bind(&path).expect("a free path"));
        let server = echo(&path);
        assert_eq!(fs::metadata(&path).expect("the socket").permissions().mode() & 0o7777, 0o600);
        drop(server);
        assert!(!path.exists());
    }

    #[test]
    fn only_its_user_may_connect_and_a_path_that_exists_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = socket(&folder);
        let refused = |path: &Path| match Server::start(path, |_| Answer::Error(String::new())) {
            Ok(_) => panic!("{} was taken", path.display()),
            Err(error) => error,
        };
        let server = echo(&path);
        let mode = fs::metadata(&path).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        assert!(matches!(refused(&path), ControlError::InUse(_)));
        drop(server);

        fs::write(&path, "precious").expect("a free path");
        assert!(matches!(refused(&path), ControlError::Exists(_)));
        assert_eq!(fs::read(&path).expect("still there"), b"precious");

        assert!(matches!(refused(&folder.path().join("x".repeat(108))), ControlError::TooLong(_)));
        assert!(matches!(refused(&folder.path().join("none/socket")), ControlError::Listen { .. }));
    }
}
