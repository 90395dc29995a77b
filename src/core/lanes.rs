//! Whose turn it is among errands to many servers.

use std::collections::{BTreeMap, VecDeque};

/// Errands to one server at once. Each makes the server start a process, and its queue of connections has an end too.
const WIDTH: u32 = 32;

/// Errands by their server: at most [`WIDTH`] of them under way, the others wait in order. A server that does not answer
/// holds up its own errands only.
#[derive(Debug)]
pub struct Lanes<Server, Errand> {
    lanes: BTreeMap<Server, Lane<Errand>>,
    /// Servers that have an errand waiting and room for it, each once.
    ready: VecDeque<Server>,
}

#[derive(Debug)]
struct Lane<Errand> {
    under_way: u32,
    waiting: VecDeque<Errand>,
}

impl<Server: Ord + Clone, Errand> Lanes<Server, Errand> {
    pub fn new() -> Self {
        Self {
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
        }
    }

    pub fn enter(&mut self, server: Server, errand: Errand) {
        let lane = self.lanes.entry(server.clone()).or_insert_with(|| Lane {
            under_way: 0,
            waiting: VecDeque::new(),
        });
        lane.waiting.push_back(errand);
        if lane.under_way < WIDTH && lane.waiting.len() == 1 {
            self.ready.push_back(server);
        }
    }

    /// The next errand to begin, now under way; servers take turns.
    pub fn next(&mut self) -> Option<Errand> {
        let server = self.ready.pop_front()?;
        let lane = self.lanes.get_mut(&server)?;
        let errand = lane.waiting.pop_front()?;
        lane.under_way += 1;
        if lane.under_way < WIDTH && !lane.waiting.is_empty() {
            self.ready.push_back(server);
        }
        Some(errand)
    }

    /// An errand to `server` is no longer under way.
    pub fn leave(&mut self, server: &Server) {
        let Some(lane) = self.lanes.get_mut(server) else { return };
        let was_full = lane.under_way == WIDTH;
        lane.under_way = lane.under_way.saturating_sub(1);
        if lane.under_way == 0 && lane.waiting.is_empty() {
            self.lanes.remove(server);
        } else if was_full && !lane.waiting.is_empty() {
            self.ready.push_back(server.clone());
        }
    }

    /// Whether [`Self::next`] has one.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drained<S: Ord + Clone, E>(lanes: &mut Lanes<S, E>) -> Vec<E> {
        std::iter::from_fn(|| lanes.next()).collect()
    }

    #[test]
    fn so_many_at_once_and_the_others_in_order() {
        let mut lanes = Lanes::new();
        (0..100).for_each(|number| lanes.enter("one", number));
        assert_eq!(drained(&mut lanes), (0..WIDTH).collect::<Vec<_>>());
        assert!(!lanes.is_ready());
        lanes.leave(&"one");
        assert_eq!(drained(&mut lanes), [WIDTH]);
    }

    #[test]
    fn a_server_that_answers_nothing_holds_up_no_other() {
        let mut lanes = Lanes::new();
        (0..100).for_each(|number| lanes.enter("dead", number));
        drained(&mut lanes);
        lanes.enter("living", 1_000);
        assert_eq!(drained(&mut lanes), [1_000]);
    }

    #[test]
    fn servers_take_turns() {
        let mut lanes = Lanes::new();
        (0..3).for_each(|number| lanes.enter("a", number));
        (10..12).for_each(|number| lanes.enter("b", number));
        assert_eq!(drained(&mut lanes), [0, 10, 1, 11, 2]);
    }

    proptest! {
        /// Whatever comes and goes: every errand begins once and nothing is kept of servers that have none.
        #[test]
        fn each_begins_once(steps in prop::collection::vec((0u8..3, 0u8..4), 0..600)) {
            let (mut lanes, mut entered, mut begun, mut under_way) = (Lanes::new(), 0, Vec::new(), Vec::new());
            for (step, server) in steps {
                match step {
                    0 => (0..10).for_each(|_| {
                        lanes.enter(server, (server, entered));
                        entered += 1;
                    }),
                    1 => if let Some(errand) = lanes.next() {
                        begun.push(errand.1);
                        under_way.push(errand.0);
                    },
                    _ => if let Some(server) = under_way.pop() {
                        lanes.leave(&server);
                    },
                }
                prop_assert!(under_way.iter().filter(|of| **of == server).count() <= WIDTH as usize);
            }
            loop {
                under_way.drain(..).for_each(|server| lanes.leave(&server));
                let Some(errand) = lanes.next() else { break };
                begun.push(errand.1);
                under_way.push(errand.0);
            }
            begun.sort_unstable();
            prop_assert_eq!(begun, (0..entered).collect::<Vec<_>>());
            prop_assert!(lanes.lanes.is_empty() && !lanes.is_ready());
        }
    }
}
