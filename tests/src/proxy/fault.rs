//! What networks and overloaded servers do to requests.

use std::time::Duration;

use hyper::Method;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// What can go wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the server has seen the request.
    CutBefore,
    /// The server does what was asked, and the connection ends before its answer: the client cannot know.
    CutAfter,
    /// The connection ends in the middle of the answer's body; one without a body is lost as a whole.
    Truncate,
    /// The request is held back for a time in between; then it takes its course.
    Delay(Duration, Duration),
    /// This status is the answer, and the server sees nothing.
    Refuse(u16),
    /// The server gets the request twice, and the client the second answer.
    Duplicate,
}

/// A fault, and which requests it hits.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    chance: f64,
    methods: Vec<Method>,
    part: String,
    left: Option<usize>,
}

impl Rule {
    /// Every request is hit.
    pub fn new(fault: Fault) -> Self {
        Self { fault, chance: 1.0, methods: vec![], part: String::new(), left: None }
    }

    /// Only with this probability.
    #[must_use]
    pub fn chance(mut self, chance: f64) -> Self {
        self.chance = chance;
        self
    }

    /// Only requests of these methods.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = methods.into_iter().collect();
        self
    }

    /// Only requests whose path and query, percent-encoded, contain `part`.
    #[must_use]
    pub fn on(mut self, part: &str) -> Self {
        self.part = part.to_string();
        self
    }

    /// Only so often.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.left = Some(times);
        self
    }

    fn hits(&mut self, method: &Method, target: &str, drawn: f64) -> bool {
        let fits = (self.methods.is_empty() || self.methods.contains(method)) && target.contains(&self.part);
        if drawn >= self.chance || !fits || self.left == Some(0) {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }
}

/// What becomes of a request: for how long it is held back, and what then goes wrong.
pub(super) fn draw(rules: &mut [Rule], method: &Method, target: &str, random: &mut StdRng) -> (Duration, Option<Fault>) {
    let (mut delay, mut found) = (Duration::ZERO, None);
    for rule in rules {
        // A number is drawn for each rule and request, so that a rule that does not fit a request does not shift the others' luck.
        let drawn = random.random();
        let is_delay = matches!(rule.fault, Fault::Delay(..));
        if (found.is_some() && !is_delay) || !rule.hits(method, target, drawn) {
            continue;
        }
        match rule.fault {
            Fault::Delay(least, most) => delay += between(least, most, random),
            fault => found = Some(fault),
        }
    }
    (delay, found)
}

/// A duration between two.
pub(super) fn between(least: Duration, most: Duration, random: &mut impl Rng) -> Duration {
    least + most.saturating_sub(least).mul_f64(random.random())
}
