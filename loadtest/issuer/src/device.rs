//! Device authorization (RFC 8628). Nobody is asked: a device is approved when it has asked often enough.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::claims::unique;

pub(crate) const LIFETIME: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(crate) struct Devices(HashMap<String, Device>);

struct Device {
    client: String,
    scope: Option<String>,
    /// Times that it is still told to wait.
    waits: u32,
    until: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Poll {
    Pending,
    Expired,
    Unknown,
    Approved { scope: Option<String> },
}

impl Devices {
    /// Its device code.
    pub(crate) fn begin(&mut self, client: &str, scope: Option<String>, waits: u32, now: Instant) -> String {
        let code = unique();
        let device = Device {
            client: client.to_owned(),
            scope,
            waits,
            until: now + LIFETIME,
        };
        self.0.insert(code.clone(), device);
        code
    }

    /// A code is good for one approval, and only for the client that it was given to.
    pub(crate) fn poll(&mut self, code: &str, client: &str, now: Instant) -> Poll {
        let Some(device) = self.0.get_mut(code).filter(|device| device.client == client) else {
            return Poll::Unknown;
        };
        if device.until <= now {
            return Poll::Expired;
        }
        if device.waits > 0 {
            device.waits -= 1;
            return Poll::Pending;
        }
        let scope = device.scope.take();
        self.0.remove(code);
        Poll::Approved { scope }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_waits_and_is_approved_once() {
        let mut devices = Devices::default();
        let now = Instant::now();
        let code = devices.begin("app", Some("openid".to_owned()), 1, now);
        assert_eq!(devices.poll(&code, "other", now), Poll::Unknown);
        assert_eq!(devices.poll(&code, "app", now), Poll::Pending);
        let approved = Poll::Approved {
            scope: Some("openid".to_owned()),
        };
        assert_eq!(devices.poll(&code, "app", now), approved);
        assert_eq!(devices.poll(&code, "app", now), Poll::Unknown);
        let code = devices.begin("app", None, 0, now);
        assert_eq!(devices.poll(&code, "app", now + LIFETIME), Poll::Expired);
    }
}
