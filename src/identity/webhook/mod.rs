//! What a webhook is asked and what it may answer: JSON both ways. Who carries it is control's business.

mod answer;
mod origin;
mod question;

#[cfg(test)]
mod driven;

pub use answer::{Answer, AnswerFault, Asserted, Verdict, read};
pub use origin::{KnownWebhook, WebhookOrigin, Webhooks};
pub use question::{NotText, Question, QuestionName};
