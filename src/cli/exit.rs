//! How a command ends: one number per kind of end, the same in every version.

use std::process::ExitCode;

/// 70 to 78 are the ring's own: why io_uring cannot be used here ([`crate::ring::StartError::exit_code`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; nothing found wrong.
    Ok,
    /// The command worked and found faults (or, for `explain`, the answer is no).
    Found,
    /// The command line cannot be understood.
    Usage,
    /// The configuration, the policy or an input file is missing or invalid.
    BadInput,
    /// A server could not be reached or logged in to, or a provider gave no keys.
    Unavailable,
    /// The ring cannot be made here; the code says why.
    Ring(u8),
    /// A fault of this program.
    Internal,
    /// A file could not be written: the record, the output.
    CannotWrite,
    /// An address cannot be listened on.
    Address,
}

impl Exit {
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Found => 1,
            Self::Usage => 64,
            Self::BadInput => 65,
            Self::Unavailable => 69,
            Self::Ring(code) => code,
            Self::Internal => 80,
            Self::CannotWrite => 81,
            Self::Address => 82,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// What `--help` shows of it.
pub const HELP: &str = "\
Exit codes:
   0  done, nothing found wrong
   1  faults found, or a provider fails; the answer of `explain` is no
  64  the command line cannot be understood
  65  configuration, policy or input missing or invalid
  69  a server could not be reached or logged in to, or a provider gave no keys
  70-78  io_uring cannot be used here:
      70 kernel too old       71 switched off by sysctl     72 forbidden (seccomp)
      73 not in this kernel   74 RLIMIT_MEMLOCK too low     75 RLIMIT_NOFILE too low
      76 out of memory        77 ring options make no sense 78 another error
  80  a fault of this program
  81  a file could not be written
  82  an address cannot be listened on";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ends_share_a_code_and_all_are_in_the_help() {
        let all = [
            Exit::Ok,
            Exit::Found,
            Exit::Usage,
            Exit::BadInput,
            Exit::Unavailable,
            Exit::Internal,
            Exit::CannotWrite,
            Exit::Address,
        ];
        let codes: std::collections::BTreeSet<u8> = all.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes.len(), all.len());
        for code in codes {
            assert!(!(70..=78).contains(&code), "{code} is the ring's");
            assert!(
                HELP.lines()
                    .any(|line| line.trim_start().starts_with(&format!("{code}  "))),
                "{code}"
            );
        }
    }
}
