//! The system calls that the standard library lacks, each behind a safe function.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits until `fd` can be read, has been closed by its writer, or `timeout` has passed (`false`).
pub(super) fn poll_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // Rounded up, so that a wait of less than a millisecond is no busy loop.
    let ms = timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as libc::c_int;
    // SAFETY: `entry` is one valid pollfd and lives through the call; the descriptor is borrowed.
    match unsafe { libc::poll(&raw mut entry, 1, ms) } {
        0 => Ok(false),
        n if n > 0 => Ok(true),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks for a pipe buffer of `bytes`. The kernel may grant less or refuse: an optimisation only.
pub(super) fn set_pipe_size(fd: BorrowedFd<'_>, bytes: i32) {
    // SAFETY: F_SETPIPE_SZ takes an int and touches no memory of ours.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
}

/// Closes every descriptor from `first` on (Linux 5.9; before that nothing happens, and the
/// descriptors that this program opens are close-on-exec anyway).
///
/// For a process that has opened nothing yet: a descriptor owned by some Rust value must not be
/// among them.
pub(super) fn close_from(first: u32) {
    // SAFETY: called first thing in the worker's `main`, when no Rust value owns a descriptor
    // beyond the three standard ones.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Forbids gaining privileges through exec (`PR_SET_NO_NEW_PRIVS`), for good.
pub(super) fn set_no_new_privs() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Forbids core dumps and being traced by processes of the same user.
pub(super) fn set_undumpable() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// Has the kernel kill this process when the thread that started it ends.
pub(super) fn die_with_parent() -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options used here take integers only.
    match unsafe { libc::prctl(option, value, zero, zero, zero) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// CPU time that this process has used since it was started, in microseconds.
pub(super) fn process_cpu_us() -> u64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `t` is a valid timespec to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut t) };
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1000
}

/// What the sandbox's self-test tries with the raw interface: whether each call was refused.
pub(super) mod attempt {
    /// Sends no signal at all to the parent, which still asks for the permission to send one.
    pub(in super::super) fn kill_parent_refused() -> bool {
        // SAFETY: integers only; signal 0 only checks permission.
        unsafe { libc::kill(libc::getppid(), 0) != 0 }
    }

    /// Asks to be traced by the parent.
    pub(in super::super) fn ptrace_refused() -> bool {
        let zero: libc::c_ulong = 0;
        // SAFETY: PTRACE_TRACEME ignores its other arguments.
        unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, zero, zero) != 0 }
    }

    /// Asks for a page that is both writable and executable.
    pub(in super::super) fn executable_memory_refused() -> bool {
        // SAFETY: a fresh anonymous mapping aliases nothing; it is left alone.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        page == libc::MAP_FAILED
    }
}
