//! Limits of the process that decide how many descriptors and rings fit.
#![allow(unsafe_code)]

use super::errno::Errno;
use super::start_error::{StartError, Step, Surroundings};
use std::io;

/// Raises the soft RLIMIT_NOFILE to the hard one and returns it. Call once, before the first ring: a table of direct
/// descriptors above the soft limit is refused.
pub fn raise_descriptor_limit() -> Result<u32, StartError> {
    let failed = |error: io::Error| StartError::Other {
        step: Step::Limits,
        errno: Errno::of(&error),
    };
    let mut limit = read(libc::RLIMIT_NOFILE).map_err(failed)?;
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit for the duration of the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(failed(io::Error::last_os_error()));
        }
    }
    Ok(u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX))
}

/// The soft RLIMIT_NOFILE.
pub(super) fn descriptors() -> u32 {
    read(libc::RLIMIT_NOFILE).map_or(1_024, |limit| u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX))
}

pub(super) fn surroundings() -> Surroundings {
    let text = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    Surroundings {
        release: text("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
        disabled: text("/proc/sys/kernel/io_uring_disabled").and_then(|text| text.parse().ok()),
        locked_memory: read(libc::RLIMIT_MEMLOCK).map_or(0, |limit| limit.rlim_cur),
        descriptors: u64::from(descriptors()),
    }
}

fn read(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit to write to for the duration of the call.
    if unsafe { libc::getrlimit(resource, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let raised = raise_descriptor_limit().expect("raising within the hard limit is always allowed");
        assert_eq!(raised, descriptors());
        assert!(surroundings().release.contains('.'));
    }
}
