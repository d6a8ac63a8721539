//! A circuit breaker and retry budget for one endpoint: a server that does not answer is not asked again and again by every task.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures that may be open at once; each success gives back [`REFUND`] of one. A server that fails more than a third of
/// the requests runs it down, and so do many tasks that try again together while a server starts: only a budget that stays
/// spent for the whole patience opens the breaker.
const BUDGET: f64 = 100.0;
const REFUND: f64 = 0.5;

/// A spent budget that has come back to this is no longer spent.
const RECOVERED: f64 = BUDGET / 4.0;

/// Failures in a row before the breaker may open: a single slow request is no outage.
const FAILURES: u32 = 5;

/// How long nothing is sent once it has opened. Then one request tries.
const PAUSE: Duration = Duration::from_secs(10);

/// What requests to one endpoint came to lately.
#[derive(Debug)]
pub(crate) struct Breaker {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    budget: f64,
    spent_since: Option<Instant>,
    failures: u32,
    failing_since: Option<Instant>,
    open_until: Option<Instant>,
    trying: bool,
    last: String,
}

/// Why a request was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Open {
    /// Failures in a row.
    pub(crate) failures: u32,
    /// For how long there has been no success.
    pub(crate) seconds: u64,
    /// What the last failure was.
    pub(crate) last: String,
}

impl std::fmt::Display for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{START}{} s ({} failures in a row, the last: {}){END}", self.seconds, self.failures, self.last)
    }
}

/// How the text of [`Open`] starts and ends, to find it where a library has made text of its causes.
const START: &str = "no answer for ";
const END: &str = "; nothing is sent for now";

impl Open {
    /// The text of an [`Open`] within what a library says of it.
    pub(crate) fn within(text: &str) -> Option<&str> {
        let start = text.find(START)?;
        let length = text[start..].find(END)?;
        Some(&text[start..start + length + END.len()])
    }
}

impl std::error::Error for Open {}

impl Breaker {
    /// A closed breaker that opens when nothing has succeeded for `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        let state = State {
            budget: BUDGET,
            spent_since: None,
            failures: 0,
            failing_since: None,
            open_until: None,
            trying: false,
            last: String::new(),
        };
        Self { patience, state: Mutex::new(state) }
    }

    /// The breaker of `endpoint`, one for the whole process; the first caller's patience holds.
    pub(crate) fn of(endpoint: &str, patience: Duration) -> Arc<Self> {
        type ByEndpoint = HashMap<(String, Duration), Arc<Breaker>>;
        static ALL: LazyLock<Mutex<ByEndpoint>> = LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((endpoint.to_owned(), patience)).or_insert_with(|| Arc::new(Self::new(patience))).clone()
    }

    /// Whether a request may be sent at `now`.
    ///
    /// # Errors
    /// [`Open`] while the endpoint is left alone.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Open> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.open_until else { return Ok(()) };
        if now >= until && !state.trying {
            state.trying = true;
            return Ok(());
        }
        let seconds = state.failing_since.map_or(0, |since| now.saturating_duration_since(since).as_secs());
        Err(Open { failures: state.failures, seconds, last: state.last.clone() })
    }

    /// A request was answered.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.budget = (state.budget + REFUND).min(BUDGET);
        if state.budget >= RECOVERED {
            state.spent_since = None;
        }
        (state.failures, state.failing_since, state.open_until, state.trying) = (0, None, None, false);
    }

    /// A request failed at `now` in a way that a retry might mend.
    pub(crate) fn failed(&self, now: Instant, what: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.budget = (state.budget - 1.0).max(0.0);
        state.failures = state.failures.saturating_add(1);
        state.last.clear();
        state.last.push_str(what);
        let since = *state.failing_since.get_or_insert(now);
        let outage = state.failures >= FAILURES && now.saturating_duration_since(since) >= self.patience;
        let spent = state.budget <= 0.0 && now.saturating_duration_since(*state.spent_since.get_or_insert(now)) >= self.patience;
        if state.trying || outage || spent {
            state.open_until = Some(now + PAUSE);
            state.trying = false;
        }
    }

    /// A request was given up by its caller before it was answered.
    pub(crate) fn abandoned(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).trying = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> (Breaker, Instant) {
        (Breaker::new(Duration::from_secs(30)), Instant::now())
    }

    #[test]
    fn it_opens_after_the_patience_and_lets_one_try_through() {
        let (breaker, start) = breaker();
        for second in 0..30 {
            breaker.failed(start + Duration::from_secs(second), "refused");
            assert_eq!(breaker.admit(start + Duration::from_secs(second)), Ok(()));
        }
        breaker.failed(start + Duration::from_secs(30), "refused");
        let open = breaker.admit(start + Duration::from_secs(31)).unwrap_err();
        assert_eq!((open.failures, open.seconds, open.last.as_str()), (31, 31, "refused"));
        let later = start + Duration::from_secs(41);
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "only one request tries");
        breaker.failed(later, "refused");
        assert!(breaker.admit(later + Duration::from_secs(1)).is_err());
        let again = later + PAUSE;
        assert_eq!(breaker.admit(again), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit(again), Ok(()));
    }

    #[test]
    fn an_open_breaker_is_found_in_the_text_of_others() {
        let open = Open { failures: 7, seconds: 61, last: "HTTP status 503 Service Unavailable".into() };
        let text = format!("Generic S3 error: Error performing GET http://x in 3 ms - HTTP error: {open}\nsource");
        assert_eq!(Open::within(&text), Some(open.to_string().as_str()));
        assert_eq!(Open::within("no answer for long"), None);
    }

    #[test]
    fn a_few_slow_failures_are_no_outage() {
        let (breaker, start) = breaker();
        breaker.failed(start, "timeout");
        breaker.failed(start + Duration::from_secs(60), "timeout");
        assert_eq!(breaker.admit(start + Duration::from_secs(61)), Ok(()));
    }

    #[test]
    fn a_server_that_fails_most_requests_runs_the_budget_down_and_one_that_fails_some_does_not() {
        let (breaker, mut now) = breaker();
        for _ in 0..10_000 {
            now += Duration::from_millis(10);
            breaker.failed(now, "500");
            (0..3).for_each(|_| breaker.succeeded());
        }
        assert_eq!(breaker.admit(now), Ok(()));
        let start = now;
        while breaker.admit(now).is_ok() {
            assert!(now < start + Duration::from_secs(60), "never opened");
            now += Duration::from_millis(100);
            breaker.succeeded();
            breaker.failed(now, "500");
            breaker.failed(now, "500");
        }
        assert!(now > start + Duration::from_secs(30), "opened though it had not failed for long");
    }

    #[test]
    fn many_tasks_that_try_again_while_a_server_starts_are_no_outage() {
        let (breaker, start) = breaker();
        for thousandth in 0..3_000 {
            breaker.failed(start + Duration::from_millis(thousandth), "refused");
        }
        let up = start + Duration::from_secs(3);
        assert_eq!(breaker.admit(up), Ok(()));
        (0..10).for_each(|_| breaker.succeeded());
        breaker.failed(start + Duration::from_secs(60), "500");
        assert_eq!(breaker.admit(start + Duration::from_secs(60)), Ok(()), "one failure long after is no outage");
    }

    #[test]
    fn a_try_that_was_given_up_makes_way_for_the_next() {
        let (breaker, start) = breaker();
        for second in 0..40 {
            breaker.failed(start + Duration::from_secs(second), "refused");
        }
        let later = start + Duration::from_secs(60);
        assert_eq!(breaker.admit(later), Ok(()));
        breaker.abandoned();
        assert_eq!(breaker.admit(later), Ok(()));
    }
}
