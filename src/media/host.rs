//! Starting, feeding, watching and burying the child.

use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::error::{Budget, Error};
use super::limits::Limits;
use super::protocol::{ChildTotals, Job, Message, ReadError, Reader, Task};
use super::sandbox::{Landlock, Layers, Policy, Probe};
use super::{Event, SAMPLE_RATE, Totals, sys, worker};

/// Room in the pipe: about one frame, so that the child decodes the next while one is looked at.
const PIPE_BYTES: i32 = 1 << 20;
/// How long a child that has said its last word may take to exit before it is killed.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// Decodes uploads, each in a child of its own.
#[derive(Clone, Debug)]
pub struct Decoder {
    program: PathBuf,
    limits: Limits,
    policy: Policy,
    require_audio: bool,
}

impl Decoder {
    /// A decoder that starts `program`, which must be this program (`std::env::current_exe`), with
    /// [`worker::SUBCOMMAND`].
    pub fn new(program: impl Into<PathBuf>, limits: Limits) -> Self {
        Self { program: program.into(), limits, policy: Policy::default(), require_audio: true }
    }

    /// The same with another sandbox policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The same, but a capture without sound is accepted.
    #[must_use]
    pub fn without_required_audio(self) -> Self {
        Self { require_audio: false, ..self }
    }

    /// The bounds that hold for each upload.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Decodes the file at `upload`, handing over what comes out as it comes. Returns after the
    /// child has been reaped.
    ///
    /// This blocks; see [`Decoder::start`] for the asynchronous form. While `on_event` runs, the
    /// child waits.
    ///
    /// # Errors
    ///
    /// See [`Error`]; [`Error::Cancelled`] if `on_event` breaks. Events that were handed over
    /// before an error are from a file that is not to be trusted.
    pub fn decode(
        &self,
        upload: &Path,
        on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Totals, Error> {
        self.supervise(upload, &Leash::default(), on_event)
    }

    /// Starts decoding the file at `upload` on a thread of its own. At most `depth` events (and
    /// not less than one) wait to be received. Dropping the result kills the child.
    pub fn start(&self, upload: PathBuf, depth: usize) -> Decoding {
        let (events, receiver) = mpsc::channel(depth.max(1));
        let leash = Arc::new(Leash::default());
        let decoder = self.clone();
        let thread = std::thread::Builder::new().name("media-host".to_owned());
        let (held, unsent) = (Arc::clone(&leash), events.clone());
        let started = thread.spawn(move || {
            let forward = |event| match events.blocking_send(Ok(event)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            };
            if let Err(e) = decoder.supervise(&upload, &held, forward) {
                // Nobody may be listening any more, and that is fine.
                let _ = events.blocking_send(Err(e));
            }
        });
        if let Err(e) = started {
            let _ = unsent.try_send(Err(Error::Spawn(e)));
        }
        Decoding { events: receiver, leash }
    }

    /// Starts a short-lived child that enters the sandbox and then tries what it should refuse.
    ///
    /// # Errors
    ///
    /// [`Error::Spawn`], [`Error::SandboxRefused`] or one of the other errors of [`super::Family::Ours`].
    pub fn probe(&self) -> Result<Probe, Error> {
        let leash = Leash::default();
        let pipe = self.spawn(&leash, Stdio::null(), Task::Probe, 0)?;
        let mut reader = Reader::new(Patient::new(pipe, self.limits.wall), self.limits.clone());
        let result = next(&mut reader, &leash).and_then(|first| {
            let layers = self.check_layers(first)?;
            match next(&mut reader, &leash)? {
                Message::Probed(refused) => Ok(Probe { layers, refused }),
                other => Err(self.unexpected(other)),
            }
        });
        leash.bury();
        result
    }

    fn supervise(
        &self,
        upload: &Path,
        leash: &Leash,
        on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Totals, Error> {
        let file = File::open(upload).map_err(Error::Open)?;
        let meta = file.metadata().map_err(Error::Open)?;
        if !meta.is_file() {
            return Err(Error::Open(io::Error::from(io::ErrorKind::InvalidInput)));
        }
        match meta.len() {
            0 => return Err(Error::Empty),
            bytes if bytes > self.limits.max_bytes => {
                return Err(Error::TooLarge { bytes, max: self.limits.max_bytes });
            }
            _ => (),
        }
        let pipe = self.spawn(leash, file.into(), Task::Decode, meta.len())?;
        sys::set_pipe_size(pipe.as_fd(), PIPE_BYTES);
        let reader = Reader::new(Patient::new(pipe, self.limits.wall), self.limits.clone());
        let result = self.receive(reader, leash, on_event);
        leash.bury();
        result
    }

    fn spawn(
        &self,
        leash: &Leash,
        upload: Stdio,
        task: Task,
        bytes: u64,
    ) -> Result<ChildStdout, Error> {
        let job = Job {
            task,
            limits: self.limits.clone(),
            policy: self.policy,
            require_audio: self.require_audio,
            bytes,
        };
        let job = serde_json::to_string(&job).map_err(|e| Error::Spawn(e.into()))?;
        let mut command = Command::new(&self.program);
        command
            .args([worker::SUBCOMMAND, &job])
            .stdin(upload)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // No secret that the service was configured with is the child's business.
            .env_clear();
        if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
            command.env("LD_LIBRARY_PATH", path);
        }
        let mut child = leash.lock();
        if child.cancelled {
            return Err(Error::Cancelled);
        }
        let mut started = command.spawn().map_err(Error::Spawn)?;
        let pipe = started.stdout.take();
        child.process = Some(started);
        drop(child);
        pipe.ok_or_else(|| Error::Spawn(io::Error::from(io::ErrorKind::BrokenPipe)))
    }

    fn receive(
        &self,
        mut reader: Reader<Patient>,
        leash: &Leash,
        mut on_event: impl FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Totals, Error> {
        let layers = self.check_layers(next(&mut reader, leash)?)?;
        loop {
            let event = match next(&mut reader, leash)? {
                Message::Opened(facts) => Event::Opened(facts),
                Message::Frame(frame) => Event::Frame(frame),
                Message::Audio(audio) => Event::Audio(audio),
                Message::Done(child) => {
                    let totals = self.totals(&reader, layers, child);
                    return match on_event(Event::Done(totals)) {
                        ControlFlow::Continue(()) => Ok(totals),
                        ControlFlow::Break(()) => Err(Error::Cancelled),
                    };
                }
                other => return Err(self.unexpected(other)),
            };
            if on_event(event).is_break() {
                return Err(Error::Cancelled);
            }
        }
    }

    fn totals(&self, reader: &Reader<Patient>, layers: Layers, child: ChildTotals) -> Totals {
        let most = self.limits.max_duration_ms.max(self.limits.max_audio_ms);
        Totals {
            frames: reader.frames(),
            duration_ms: child.duration_ms.min(most),
            audio_ms: reader.samples() * 1000 / u64::from(SAMPLE_RATE),
            audio_gaps_ms: child.audio_gaps_ms.min(most),
            damaged_packets: child.damaged_packets,
            decode_cpu_ms: child.cpu_us / 1000,
            layers,
        }
    }

    /// The child reports its layers before it has seen a byte of the upload.
    fn check_layers(&self, first: Message) -> Result<Layers, Error> {
        let Message::Sandboxed(layers) = first else { return Err(self.unexpected(first)) };
        let missing = if !layers.rlimits {
            "rlimits"
        } else if !layers.no_new_privs {
            "no_new_privs"
        } else if !layers.seccomp {
            "seccomp"
        } else if self.policy.require_landlock && layers.landlock != Landlock::Full {
            "landlock"
        } else {
            return Ok(layers);
        };
        let reason = "the child reports that it does not hold".to_owned();
        Err(Error::SandboxRefused { layer: missing.to_owned(), reason })
    }

    fn unexpected(&self, message: Message) -> Error {
        match message {
            Message::Failed(refusal) => refusal.into_error(&self.limits),
            _ => Error::ChildMisbehaved { what: "a message does not answer the job" },
        }
    }
}

/// The next message, or why there is none.
fn next(reader: &mut Reader<Patient>, leash: &Leash) -> Result<Message, Error> {
    match reader.next() {
        Ok(message) => Ok(message),
        Err(ReadError::Broken(what)) => Err(Error::ChildMisbehaved { what }),
        Err(ReadError::Io(e)) if e.kind() == io::ErrorKind::TimedOut => {
            Err(Error::TooSlow { budget: Budget::Wall })
        }
        Err(ReadError::Io(_) | ReadError::Ended) => Err(leash.autopsy()),
    }
}

/// A decode that runs on its own thread. Dropping it kills the child, which is then reaped by that
/// thread.
#[derive(Debug)]
pub struct Decoding {
    events: mpsc::Receiver<Result<Event, Error>>,
    leash: Arc<Leash>,
}

impl Decoding {
    /// The next event; `None` after [`Event::Done`] or an error.
    pub async fn next(&mut self) -> Option<Result<Event, Error>> {
        self.events.recv().await
    }

    /// The same for a thread that may block.
    pub fn blocking_next(&mut self) -> Option<Result<Event, Error>> {
        self.events.blocking_recv()
    }
}

impl Drop for Decoding {
    fn drop(&mut self) {
        self.leash.cancel();
    }
}

/// The grip on a child that several threads share: one reads, another may kill.
#[derive(Debug, Default)]
struct Leash(Mutex<Leashed>);

#[derive(Debug, Default)]
struct Leashed {
    process: Option<Child>,
    cancelled: bool,
}

impl Leash {
    fn lock(&self) -> MutexGuard<'_, Leashed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills the child, now or as soon as it would be started.
    fn cancel(&self) {
        let mut leashed = self.lock();
        leashed.cancelled = true;
        if let Some(child) = &mut leashed.process {
            let _ = child.kill(); // it may have exited
        }
    }

    /// Kills the child if it still runs, and reaps it.
    fn bury(&self) -> Option<ExitStatus> {
        let mut child = self.lock().process.take()?;
        let _ = child.kill();
        child.wait().ok()
    }

    /// What became of a child that closed its pipe without a last word.
    fn autopsy(&self) -> Error {
        let patience = Instant::now() + EXIT_GRACE;
        while Instant::now() < patience {
            match self.lock().process.as_mut().map(Child::try_wait) {
                Some(Ok(None)) => (),
                _ => break,
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let status = self.bury();
        if self.lock().cancelled {
            return Error::Cancelled;
        }
        match status.and_then(|s| s.signal()) {
            Some(libc::SIGXCPU) => Error::TooSlow { budget: Budget::Cpu },
            signal => Error::ChildDied { signal },
        }
    }
}

impl Drop for Leash {
    /// Also when the receiver panics: no child survives, and none is left as a zombie.
    fn drop(&mut self) {
        self.bury();
    }
}

/// A pipe whose reads may take so much time in all.
struct Patient {
    pipe: ChildStdout,
    left: Duration,
}

impl Patient {
    fn new(pipe: ChildStdout, left: Duration) -> Self {
        Self { pipe, left }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let since = Instant::now();
        let readable = sys::poll_readable(self.pipe.as_fd(), self.left);
        self.left = self.left.saturating_sub(since.elapsed());
        if !readable? || self.left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        self.pipe.read(buffer)
    }
}
