//! Who comes next: a lane for each pool, and the lanes in turn.

use std::collections::{HashMap, VecDeque};

use crate::domain::id::{ClientName, PoolId, RotationName};

/// Clients of one pool that are under way at one time: enough to keep the pool's quota of 5 calls a second of each operation
/// in use, and so few that none of their calls waits for its turn for 5 s, also where brokers share that and have one each.
pub const OF_ONE_POOL: usize = 4;

/// A client that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub name: ClientName,
    pub pool: PoolId,
    /// Its rotation, where that was begun under the same `request_id`.
    pub begun: Option<RotationName>,
}

/// Those who wait, by pool.
#[derive(Default)]
pub struct Lanes {
    /// Of pools of which somebody waits or is under way.
    lanes: HashMap<PoolId, Lane>,
    /// Each pool of which somebody waits and that has room, once.
    turns: VecDeque<PoolId>,
    waiting: usize,
}

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Candidate>,
    under_way: usize,
}

impl Lane {
    fn has_turn(&self) -> bool {
        !self.waiting.is_empty() && self.under_way < OF_ONE_POOL
    }
}

impl Lanes {
    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    pub fn line_up(&mut self, candidate: Candidate) {
        let pool = candidate.pool.clone();
        self.change(&pool, |lane| lane.waiting.push_back(candidate));
        self.waiting += 1;
    }

    /// The next one, who then is under way; `None` where nobody waits whose pool has room.
    pub fn take(&mut self) -> Option<Candidate> {
        let pool = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&pool)?;
        let next = lane.waiting.pop_front()?;
        lane.under_way += 1;
        self.waiting -= 1;
        // The other pools come first.
        if lane.has_turn() {
            self.turns.push_back(pool);
        }
        Some(next)
    }

    /// One of this pool is not under way any more.
    pub fn leave(&mut self, pool: &PoolId) {
        self.change(pool, |lane| lane.under_way = lane.under_way.saturating_sub(1));
        if self.lanes.get(pool).is_some_and(|lane| lane.waiting.is_empty() && lane.under_way == 0) {
            self.lanes.remove(pool);
        }
    }

    fn change(&mut self, pool: &PoolId, change: impl FnOnce(&mut Lane)) {
        let lane = self.lanes.entry(pool.clone()).or_default();
        let had_turn = lane.has_turn();
        change(lane);
        if !had_turn && lane.has_turn() {
            self.turns.push_back(pool.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(pool: &str, number: usize) -> Candidate {
        let name = format!("tenants/acme/clients/client-{number}");
        let pool = PoolId::parse("pool", pool).expect("a pool");
        Candidate { name: ClientName::parse("name", &name).expect("a client"), pool, begun: None }
    }

    /// The pools of those who are taken until nobody can be.
    fn taken(lanes: &mut Lanes) -> Vec<String> {
        std::iter::from_fn(|| lanes.take()).map(|candidate| candidate.pool.to_string()).collect()
    }

    #[test]
    fn pools_have_turns_and_none_has_more_than_its_part_under_way() {
        let mut lanes = Lanes::default();
        (0..9).for_each(|number| lanes.line_up(candidate("shared-one", number)));
        (0..2).for_each(|number| lanes.line_up(candidate("shared-two", number)));
        let (one, two) = ("shared-one", "shared-two");
        assert_eq!(taken(&mut lanes), [one, two, one, two, one, one]);
        assert_eq!((lanes.waiting(), taken(&mut lanes).len()), (5, 0));

        // Whoever has left makes room for one of the same pool, and of no other.
        lanes.leave(&candidate(two, 0).pool);
        assert_eq!(taken(&mut lanes).len(), 0);
        lanes.leave(&candidate(one, 0).pool);
        lanes.line_up(candidate(two, 2));
        assert_eq!(taken(&mut lanes), [one, two]);
    }

    #[test]
    fn those_of_one_pool_come_in_the_order_in_which_they_came() {
        let mut lanes = Lanes::default();
        let numbers = 0..100;
        numbers.clone().for_each(|number| lanes.line_up(candidate("shared-one", number)));
        let in_order = numbers.map(|number| candidate("shared-one", number));
        for next in in_order {
            assert_eq!(lanes.take(), Some(next.clone()));
            lanes.leave(&next.pool);
        }
        assert_eq!((lanes.waiting(), lanes.lanes.len(), lanes.turns.len()), (0, 0, 0), "nothing is kept of a pool");
    }
}
