//! What the admin address answers: `/metrics`, `/healthz`, `/readyz`, `/providers`. Content only; `http` carries it.

use std::fmt::Write as _;
use std::sync::Arc;

use super::clock::utc_now;
use super::latency::LatencyTotals;
use super::lifecycle::Lifecycle;
use super::messages::Cores;
use super::provider_page;
use super::providers::Status;
use crate::audit::Recorder;
use crate::metrics::{self, Metrics};

/// Everything the pages look at.
pub struct Pages {
    pub metrics: Arc<Metrics>,
    pub latencies: Arc<LatencyTotals>,
    pub lifecycle: Arc<Lifecycle>,
    pub cores: Arc<Cores>,
    pub recorder: Recorder,
    /// What is known of each identity provider.
    pub providers: Box<dyn Fn() -> Vec<Status> + Send + Sync>,
    /// Whether `/metrics` is served.
    pub show_metrics: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Answer {
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

impl Pages {
    /// Whether the latencies should be gathered before [`Pages::answer`].
    pub fn wants_latencies(&self, path: &str) -> bool {
        self.show_metrics && path == "/metrics"
    }

    pub fn answer(&self, path: &str) -> Answer {
        match path {
            "/healthz" => Answer::text(200, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" if self.show_metrics => self.metrics(),
            "/providers" => Answer {
                status: 200,
                content_type: "application/json",
                body: provider_page::json(&(self.providers)(), utc_now()),
            },
            _ => Answer::text(404, "not found\n"),
        }
    }

    fn metrics(&self) -> Answer {
        let figures = self.recorder.figures();
        self.metrics.control.notices_lost.raise_to(self.cores.lost());
        self.metrics.control.audit_healthy.set(u64::from(figures.healthy));
        self.metrics.control.audit_dropped.raise_to(figures.dropped);
        self.metrics.control.audit_failed.raise_to(figures.failures);
        self.metrics.control.audit_queued.set(figures.queued);
        let mut body = self
            .latencies
            .with(|latencies| metrics::render(&self.metrics, latencies));
        provider_page::metrics(&(self.providers)(), utc_now(), &mut body);
        Answer {
            status: 200,
            content_type: metrics::CONTENT_TYPE,
            body,
        }
    }

    /// One line per condition, so that whoever looks sees which one fails.
    fn ready(&self) -> Answer {
        let conditions = [
            (
                "policy",
                self.metrics.control.policy_generation.get() > 0,
                "no policy in force",
            ),
            ("listeners", self.lifecycle.all_accept(), "not every core accepts"),
            ("draining", !self.lifecycle.draining(), "the process is draining"),
            ("audit", self.recorder.healthy(), "the record cannot be written"),
        ];
        let mut body = String::new();
        for (name, holds, otherwise) in conditions {
            let written = writeln!(body, "{name}: {}", if holds { "ok" } else { otherwise });
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        let ready = conditions.iter().all(|(_, holds, _)| *holds);
        Answer::text(if ready { 200 } else { 503 }, body)
    }
}
