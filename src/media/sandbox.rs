//! The layers between a decoder bug and the machine.
//!
//! The child needs a descriptor to read the upload from, a pipe to answer through, memory and time:
//! all of it is there when it starts. So everything else is taken away before the first hostile
//! byte is read:
//!
//! | layer | what it takes away |
//! | --- | --- |
//! | rlimits | memory, CPU time, files written, new descriptors, new processes, core dumps |
//! | `no_new_privs` | privileges through exec |
//! | Landlock | the whole file system, TCP, signals and abstract sockets outside the sandbox |
//! | seccomp | every system call but about twenty, and executable memory |
//!
//! seccomp alone already denies opening files and sockets, so a kernel or container without
//! Landlock weakens the defence in depth and not the rule. Landlock is therefore best effort unless
//! [`Policy::require_landlock`] says otherwise; the other layers are always required.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus,
    Scope,
};
use rlimit::Resource;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::{Deserialize, Serialize};

use super::limits::Limits;
use super::sys;

/// Which layers must hold for the child to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Refuse to decode where Landlock is not fully enforced.
    pub require_landlock: bool,
}

/// The layers that hold in one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Resource limits are set.
    pub rlimits: bool,
    /// `PR_SET_NO_NEW_PRIVS` is set.
    pub no_new_privs: bool,
    /// What the kernel made of the Landlock rules.
    pub landlock: Landlock,
    /// The system call filter is installed.
    pub seccomp: bool,
}

/// How far the kernel enforces the Landlock rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Landlock {
    /// Everything that was asked for.
    Full,
    /// The file system and perhaps more, on a kernel that is older than the rules.
    Partial,
    /// Nothing: the kernel lacks Landlock, or the container runtime blocks it.
    Missing,
}

/// What a sandboxed child tried, and whether it was refused. Every field should be `true`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools)] // a report: one answer per attempt
pub struct Refused {
    /// Opening a world-readable file.
    pub read_file: bool,
    /// Creating a file.
    pub write_file: bool,
    /// Connecting or listening over TCP.
    pub tcp: bool,
    /// Binding a UDP socket.
    pub udp: bool,
    /// Starting a program.
    pub exec: bool,
    /// Signalling the parent.
    pub kill: bool,
    /// Tracing.
    pub ptrace: bool,
    /// Memory that can be written and executed.
    pub executable_memory: bool,
}

impl Refused {
    /// Whether every attempt was refused.
    pub fn all(&self) -> bool {
        let Self { read_file, write_file, tcp, udp, exec, kill, ptrace, executable_memory } = *self;
        read_file && write_file && tcp && udp && exec && kill && ptrace && executable_memory
    }
}

/// What [`super::Decoder::probe`] found out about this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// The layers that hold.
    pub layers: Layers,
    /// What the child could not do in spite of trying.
    pub refused: Refused,
}

/// A layer that is required and could not be put up.
#[derive(Debug)]
pub(super) struct LayerFailed {
    pub(super) layer: &'static str,
    pub(super) reason: String,
}

/// Puts up all layers in this process, which must have one thread. There is no way back.
pub(super) fn enter(limits: &Limits, policy: Policy) -> Result<Layers, LayerFailed> {
    let failed = |layer| move |e: io::Error| LayerFailed { layer, reason: e.to_string() };
    sys::die_with_parent().map_err(failed("parent death signal"))?;
    sys::set_undumpable().map_err(failed("undumpable"))?;
    let mapped = mapped_bytes(); // while files can still be opened
    sys::set_no_new_privs().map_err(failed("no_new_privs"))?;
    let landlock = restrict_with_landlock().unwrap_or(Landlock::Missing);
    if policy.require_landlock && landlock != Landlock::Full {
        return Err(LayerFailed {
            layer: "landlock",
            reason: format!("the kernel's enforcement is {landlock:?}").to_lowercase(),
        });
    }
    // After Landlock, whose rules need a descriptor for a moment.
    limit_resources(limits, mapped).map_err(failed("rlimits"))?;
    filter_system_calls().map_err(|e| LayerFailed { layer: "seccomp", reason: e.to_string() })?;
    Ok(Layers { rlimits: true, no_new_privs: true, landlock, seccomp: true })
}

/// Tries what the sandbox should refuse.
pub(super) fn self_test() -> Refused {
    Refused {
        read_file: File::open("/etc/passwd").is_err() && File::open("/proc/self/maps").is_err(),
        write_file: File::create("/tmp/cameo-media-worker-self-test").is_err(),
        tcp: TcpStream::connect("127.0.0.1:9").is_err_and(|e| denied(&e))
            && TcpListener::bind("127.0.0.1:0").is_err(),
        udp: UdpSocket::bind("127.0.0.1:0").is_err(),
        exec: Command::new("/bin/true").spawn().is_err(),
        kill: sys::attempt::kill_parent_refused(),
        ptrace: sys::attempt::ptrace_refused(),
        executable_memory: sys::attempt::executable_memory_refused(),
    }
}

/// A refused connection also fails: only the lack of permission counts.
fn denied(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::PermissionDenied
}

/// Landlock with no rule at all: nothing that it handles remains allowed.
fn restrict_with_landlock() -> Result<Landlock, landlock::RulesetError> {
    // The access rights known when this was written; an older kernel enforces those it knows.
    let abi = ABI::V6;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::from_all(abi))?
        .scope(Scope::from_all(abi))?
        .create()?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Missing,
    })
}

fn limit_resources(limits: &Limits, mapped: u64) -> io::Result<()> {
    let memory = mapped.saturating_add(limits.memory_bytes);
    let set = |resource: Resource, soft: u64, hard: u64| {
        // A limit that is already lower stays: raising it would need a privilege.
        let (_, max) = resource.get()?;
        resource.set(soft.min(max), hard.min(max))
    };
    set(Resource::AS, memory, memory)?;
    // SIGXCPU at the soft limit tells the host what happened; the hard limit kills.
    set(Resource::CPU, limits.cpu_seconds, limits.cpu_seconds.saturating_add(1))?;
    set(Resource::FSIZE, 0, 0)?;
    set(Resource::NOFILE, 0, 0)?;
    set(Resource::NPROC, 0, 0)?;
    set(Resource::CORE, 0, 0)
}

/// The address space that this process has mapped: the program, its libraries, its stack.
fn mapped_bytes() -> u64 {
    // Without /proc (some containers) a figure well above what the libraries take.
    const UNKNOWN: u64 = 2 << 30;
    const PAGE: u64 = 4096;
    std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|s| s.split(' ').next()?.parse::<u64>().ok())
        .map_or(UNKNOWN, |pages| pages.saturating_mul(PAGE))
}

/// What decoding needs once all descriptors are open. A call that is not listed fails with EPERM.
const ALLOWED: &[libc::c_long] = &[
    // the upload and the answer
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_close,
    // memory (mmap and mprotect: see below)
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // threads, time, chance, signals, the end
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_clock_gettime,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

fn filter_system_calls() -> Result<(), seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![without_exec()?]);
    }
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram =
        SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?.try_into()?;
    seccompiler::apply_filter(&program)
}

/// The third argument (the protection) must not ask for execution.
fn without_exec() -> Result<SeccompRule, seccompiler::BackendError> {
    let exec = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
    SeccompRule::new(vec![SeccompCondition::new(2, SeccompCmpArgLen::Dword, exec, 0)?])
}
