//! Answers kept for a while, by the name of their question: bounded in number and in memory, the oldest go first.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use crate::identity::webhook::Answer;
use crate::identity::webhook::QuestionName;

pub struct Kept {
    most: usize,
    /// Bytes, about.
    most_weight: usize,
    weight: usize,
    by_name: HashMap<QuestionName, Entry>,
    /// In the order in which they came; may name entries that are gone or were replaced.
    order: VecDeque<(QuestionName, u64)>,
    next: u64,
}

struct Entry {
    answer: Answer,
    until: Instant,
    number: u64,
    weight: usize,
}

impl Kept {
    /// Keeps so many answers at most, of so many bytes altogether.
    pub fn new(most: usize, most_weight: usize) -> Self {
        Self {
            most,
            most_weight,
            weight: 0,
            by_name: HashMap::new(),
            order: VecDeque::new(),
            next: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    pub fn find(&mut self, name: &QuestionName, now: Instant) -> Option<Answer> {
        let entry = self.by_name.get(name)?;
        if now < entry.until {
            return Some(entry.answer.clone());
        }
        self.forget(*name);
        None
    }

    pub fn keep(&mut self, name: QuestionName, answer: Answer, until: Instant, now: Instant) {
        let weight = size_of::<Entry>() + answer.weight();
        if weight > self.most_weight {
            return;
        }
        self.forget(name);
        while self.order.len() >= self.most || self.weight + weight > self.most_weight {
            self.drop_oldest();
        }
        self.drop_over(now);
        self.next += 1;
        let number = self.next;
        self.order.push_back((name, number));
        self.weight += weight;
        let entry = Entry {
            answer,
            until,
            number,
            weight,
        };
        self.by_name.insert(name, entry);
    }

    fn forget(&mut self, name: QuestionName) {
        if let Some(entry) = self.by_name.remove(&name) {
            self.weight -= entry.weight;
        }
    }

    /// Those at the head whose time is over: answers nobody asks for again do not stay.
    fn drop_over(&mut self, now: Instant) {
        while let Some((name, number)) = self.order.front() {
            let serves = self
                .by_name
                .get(name)
                .is_some_and(|entry| entry.number == *number && now < entry.until);
            if serves {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((name, number)) = self.order.pop_front()
            && self.by_name.get(&name).is_some_and(|entry| entry.number == number)
        {
            self.forget(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aws_lc_rs::hmac;

    use super::*;
    use crate::identity::webhook::Question;

    fn name(user: &str) -> QuestionName {
        let question = Question {
            attempt: "".into(),
            user: user.into(),
            database: "".into(),
            application_name: "".into(),
            source: "192.0.2.7".parse().unwrap(),
            listener: "".into(),
            tls: true,
            certificate_sha256: None,
            password: None,
            replication: false,
        };
        question.name(&hmac::Key::new(hmac::HMAC_SHA256, b"key"))
    }

    fn answer(reason: &str) -> Answer {
        Answer::Denied { reason: reason.into() }
    }

    #[test]
    fn an_answer_serves_until_its_time_is_over() {
        let (mut kept, now) = (Kept::new(10, 1 << 20), Instant::now());
        let until = now + Duration::from_secs(10);
        kept.keep(name("a"), answer("1"), until, now);
        assert_eq!(kept.find(&name("a"), now), Some(answer("1")));
        assert_eq!(kept.find(&name("b"), now), None);
        assert_eq!(kept.find(&name("a"), until), None);
        assert_eq!(kept.len(), 0);
    }

    #[test]
    fn the_oldest_make_room() {
        let (mut kept, now) = (Kept::new(3, 1 << 20), Instant::now());
        let until = now + Duration::from_secs(10);
        for user in ["a", "b", "c", "a", "d"] {
            kept.keep(name(user), answer(user), until, now);
        }
        assert!(kept.len() <= 3 && kept.order.len() <= 3);
        assert_eq!(kept.find(&name("a"), now), Some(answer("a")), "replaced, so young");
        assert_eq!(kept.find(&name("b"), now), None);
        assert_eq!(kept.find(&name("d"), now), Some(answer("d")));
    }

    #[test]
    fn long_answers_make_room_sooner() {
        let (mut kept, now) = (Kept::new(100, 10_000), Instant::now());
        let until = now + Duration::from_secs(10);
        for user in ["a", "b", "c", "a"] {
            kept.keep(name(user), answer(&"x".repeat(4000)), until, now);
        }
        assert_eq!(kept.len(), 2);
        assert!(kept.find(&name("b"), now).is_none() && kept.find(&name("a"), now).is_some());
        kept.keep(name("d"), answer(&"x".repeat(20_000)), until, now);
        assert_eq!(
            (kept.find(&name("d"), now), kept.len()),
            (None, 2),
            "too long to be kept at all"
        );
        assert!(kept.find(&name("a"), until).is_none() && kept.find(&name("c"), until).is_none());
        assert_eq!(kept.weight, 0);
    }

    #[test]
    fn answers_that_nobody_asks_for_again_do_not_stay() {
        let (mut kept, now) = (Kept::new(100, 1 << 20), Instant::now());
        let until = now + Duration::from_secs(10);
        for number in 0..50 {
            kept.keep(name(&number.to_string()), answer(""), until, now);
        }
        kept.keep(name("later"), answer(""), until + Duration::from_secs(10), until);
        assert_eq!(kept.len(), 1);
    }
}
