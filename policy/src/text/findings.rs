//! Collects what is wrong while a policy is read, and remembers which parts are not worth a second complaint.

use core::cell::{OnceCell, RefCell};
use core::ops::Range;
use std::collections::BTreeSet;

use super::SourceFile;
use crate::check::{ModelFault, Object, Why};
use crate::fault::{Fault, Faults, Lines};

/// Bytes of one of the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub file: usize,
    pub bytes: Range<usize>,
}

pub(super) struct Findings<'s> {
    sources: Vec<Source<'s>>,
    faults: RefCell<Vec<Fault>>,
    /// What was not read as it is meant, so that rules on it would only add follow-ups.
    spoiled: RefCell<BTreeSet<(Object, &'static str)>>,
}

struct Source<'s> {
    file: &'s SourceFile,
    /// Found with the first fault.
    lines: OnceCell<Lines>,
}

impl Source<'_> {
    fn fault(&self, bytes: &Range<usize>, message: String) -> Fault {
        let SourceFile { name, text } = self.file;
        self.lines
            .get_or_init(|| Lines::of(text))
            .fault(name, text, bytes.clone(), message)
    }
}

/// Stands for every key of an object.
const WHOLE: &str = "";

impl<'s> Findings<'s> {
    pub fn new(sources: &[&'s SourceFile]) -> Findings<'s> {
        let sources = sources
            .iter()
            .map(|file| Source {
                file,
                lines: OnceCell::new(),
            })
            .collect();
        Findings {
            sources,
            faults: RefCell::default(),
            spoiled: RefCell::default(),
        }
    }

    pub fn say(&self, span: &Span, why: Why) {
        let fault = match self.sources.get(span.file) {
            Some(source) => source.fault(&span.bytes, why.message),
            // A policy without files has no place for a fault.
            None => Fault::of_file("policy", why.message),
        };
        self.faults.borrow_mut().push(fault.with_help(why.help));
    }

    /// `key` of `object` does not say what its author meant.
    pub fn spoil(&self, object: &Object, key: &'static str) {
        self.spoiled.borrow_mut().insert((object.clone(), key));
        // What a grant may ask of the rules for authentication is judged on all of them.
        if matches!(object, Object::Authentication(_)) {
            self.spoiled.borrow_mut().insert((Object::Policy, WHOLE));
        }
    }

    pub fn spoil_whole(&self, object: &Object) {
        self.spoil(object, WHOLE);
    }

    /// Whether a fault of the model is only the echo of one that is already told.
    pub fn is_echo(&self, fault: &ModelFault) -> bool {
        let spoiled = self.spoiled.borrow();
        let any = |object: &Object| {
            spoiled
                .range((object.clone(), WHOLE)..)
                .next()
                .is_some_and(|(o, _)| o == object)
        };
        let own = match fault.key {
            Some(key) => [key, WHOLE]
                .iter()
                .any(|key| spoiled.contains(&(fault.object.clone(), *key))),
            None => any(&fault.object),
        };
        own || fault.other.as_ref().is_some_and(any)
    }

    /// `file:line:column`, to point at a second place.
    pub fn place(&self, span: &Span) -> String {
        let Some(source) = self.sources.get(span.file) else {
            return String::new();
        };
        let fault = source.fault(&span.bytes, String::new());
        format!("{}:{}:{}", fault.file, fault.line, fault.column)
    }

    pub fn is_empty(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    pub fn into_faults(self) -> Faults {
        Faults::new(self.faults.into_inner())
    }
}
