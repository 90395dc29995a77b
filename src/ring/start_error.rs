//! Why a ring cannot be made here, and what an operator can do about it.

use super::errno::Errno;

/// A closed set; each has an exit code of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    #[error("this kernel ({release}) is older than Linux 6.1 or lacks {missing}")]
    KernelTooOld { release: String, missing: &'static str },
    #[error("io_uring is switched off for this user (sysctl kernel.io_uring_disabled = {setting})")]
    Disabled { setting: u8 },
    #[error("io_uring is forbidden here (EPERM), most likely by a seccomp profile or another security module")]
    Forbidden,
    #[error("io_uring does not exist here (ENOSYS): built without it, or hidden by a seccomp profile")]
    NotThere,
    #[error("not enough locked memory for a ring (RLIMIT_MEMLOCK is {limit} bytes)")]
    LockedMemory { limit: u64 },
    #[error("out of file descriptors (RLIMIT_NOFILE is {limit})")]
    Descriptors { limit: u64 },
    #[error("buffers of {bytes} bytes cannot be mapped: {errno}")]
    Memory { bytes: usize, errno: Errno },
    #[error("the ring's options make no sense: {0}")]
    Options(&'static str),
    #[error("{step} failed: {errno}")]
    Other { step: Step, errno: Errno },
}

/// What was being done when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    SetUp,
    Probe,
    Slots,
    BufferRing,
    Limits,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SetUp => "setting up the ring",
            Self::Probe => "asking the kernel for its operations",
            Self::Slots => "registering the table of descriptors",
            Self::BufferRing => "registering the buffers",
            Self::Limits => "reading the limits of the process",
        })
    }
}

impl StartError {
    /// What the operator can do, as one sentence.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::KernelTooOld { .. } => "run Linux 6.1 or later (Debian 12, Amazon Linux 2023, Ubuntu 24.04)",
            Self::Disabled { .. } => "set sysctl kernel.io_uring_disabled=0, or add the user to kernel.io_uring_group",
            Self::Forbidden => {
                "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile"
            }
            Self::NotThere => "use a kernel with CONFIG_IO_URING and a seccomp profile that allows io_uring_setup",
            Self::LockedMemory { .. } => "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=) or run fewer cores",
            Self::Descriptors { .. } => "raise the hard RLIMIT_NOFILE (ulimit -Hn, LimitNOFILE=)",
            Self::Memory { .. } => "give the process more memory or configure fewer buffers",
            Self::Options(_) => "correct the ring options of the configuration",
            Self::Other { .. } => "report this: it is not a known way to fail",
        }
    }

    /// Exit code of the process, 70 to 78; stable.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::KernelTooOld { .. } => 70,
            Self::Disabled { .. } => 71,
            Self::Forbidden => 72,
            Self::NotThere => 73,
            Self::LockedMemory { .. } => 74,
            Self::Descriptors { .. } => 75,
            Self::Memory { .. } => 76,
            Self::Options(_) => 77,
            Self::Other { .. } => 78,
        }
    }
}

/// What the machine says about itself, read after a failure.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub release: String,
    /// The content of /proc/sys/kernel/io_uring_disabled; absent before 6.6.
    pub disabled: Option<u8>,
    pub locked_memory: u64,
    pub descriptors: u64,
}

/// Names the cause of a failed step.
pub(super) fn explain(step: Step, errno: Errno, surroundings: Surroundings) -> StartError {
    match (step, errno.0) {
        (Step::SetUp, libc::EPERM) => match surroundings.disabled {
            Some(setting) if setting > 0 => StartError::Disabled { setting },
            Some(_) | None => StartError::Forbidden,
        },
        (_, libc::ENOSYS) => StartError::NotThere,
        // A flag that the kernel does not know: DEFER_TASKRUN came with 6.1.
        (Step::SetUp, libc::EINVAL) => StartError::KernelTooOld {
            release: surroundings.release,
            missing: "deferred task work (6.1)",
        },
        (Step::BufferRing, libc::EINVAL) => StartError::KernelTooOld {
            release: surroundings.release,
            missing: "provided-buffer rings (5.19)",
        },
        (Step::SetUp | Step::Slots | Step::BufferRing, libc::ENOMEM) => StartError::LockedMemory {
            limit: surroundings.locked_memory,
        },
        (_, libc::EMFILE | libc::ENFILE) => StartError::Descriptors {
            limit: surroundings.descriptors,
        },
        (step, _) => StartError::Other { step, errno },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(disabled: Option<u8>) -> Surroundings {
        Surroundings {
            release: "5.15.0".into(),
            disabled,
            locked_memory: 65_536,
            descriptors: 1_024,
        }
    }

    fn explained(step: Step, errno: i32, disabled: Option<u8>) -> StartError {
        explain(step, Errno(errno), surroundings(disabled))
    }

    #[test]
    fn causes_are_told_apart() {
        assert_eq!(
            explained(Step::SetUp, libc::EPERM, Some(2)),
            StartError::Disabled { setting: 2 }
        );
        assert_eq!(explained(Step::SetUp, libc::EPERM, Some(0)), StartError::Forbidden);
        assert_eq!(explained(Step::SetUp, libc::EPERM, None), StartError::Forbidden);
        assert_eq!(explained(Step::SetUp, libc::ENOSYS, None), StartError::NotThere);
        assert_eq!(
            explained(Step::SetUp, libc::ENOMEM, None),
            StartError::LockedMemory { limit: 65_536 }
        );
        assert_eq!(
            explained(Step::Slots, libc::EMFILE, None),
            StartError::Descriptors { limit: 1_024 }
        );
        assert!(matches!(
            explained(Step::SetUp, libc::EINVAL, None),
            StartError::KernelTooOld { .. }
        ));
        assert!(matches!(
            explained(Step::Probe, libc::EIO, None),
            StartError::Other { step: Step::Probe, .. }
        ));
    }

    #[test]
    fn every_cause_has_its_own_exit_code_and_a_remedy() {
        let all = [
            StartError::KernelTooOld {
                release: "5.10".into(),
                missing: "x",
            },
            StartError::Disabled { setting: 1 },
            StartError::Forbidden,
            StartError::NotThere,
            StartError::LockedMemory { limit: 1 },
            StartError::Descriptors { limit: 1 },
            StartError::Memory {
                bytes: 1,
                errno: Errno::NO_MEMORY,
            },
            StartError::Options("x"),
            StartError::Other {
                step: Step::SetUp,
                errno: Errno::BUSY,
            },
        ];
        let mut codes: Vec<u8> = all.iter().map(StartError::exit_code).collect();
        codes.dedup();
        assert_eq!(codes, (70..=78).collect::<Vec<u8>>());
        assert!(all.iter().all(|error| !error.remedy().is_empty()));
    }
}
