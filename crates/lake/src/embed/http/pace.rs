//! When a request may go, and how long to wait before one is sent again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Spreads requests evenly, and holds all of them back when the service asks for it.
pub(super) struct Pace {
    gap: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(requests_per_minute: Option<usize>) -> Self {
        let gap = requests_per_minute.map_or(Duration::ZERO, |n| Duration::from_secs_f64(60.0 / n.max(1) as f64));
        Self { gap, next: Mutex::new(Instant::now()) }
    }

    /// Waits until the next request may go.
    pub(super) async fn turn(&self) {
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*next).max(Instant::now());
            *next = turn + self.gap;
            turn
        };
        sleep_until(turn).await;
    }

    /// Lets no request go for so long.
    pub(super) fn hold(&self, pause: Duration) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = (*next).max(Instant::now() + pause);
    }
}

/// The pauses between tries of one request, random and growing, until the patience ends.
pub(super) struct Pauses {
    end: Instant,
    last: Duration,
}

impl Pauses {
    /// Pauses that last for `patience` from now, the moment of the first failure.
    pub(super) fn new(patience: Duration) -> Self {
        Self { end: Instant::now() + patience, last: FIRST_PAUSE }
    }

    /// The next pause: as long as the service `asked` for, or random. `None` when the patience ends before it.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Option<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() || asked.is_some_and(|asked| asked > left) {
            return None;
        }
        self.last = (self.last * 3).min(LONGEST_PAUSE);
        let random = rand::random_range(FIRST_PAUSE / 2..self.last);
        // All who were told the same time would come back at once.
        let pause = asked.map_or(random, |asked| asked + random.min(FIRST_PAUSE));
        Some(pause.min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_with_the_patience() {
        let mut pauses = Pauses::new(Duration::from_secs(60));
        for _ in 0..20 {
            let pause = pauses.next(None).unwrap();
            assert!(pause >= FIRST_PAUSE / 2 && pause <= LONGEST_PAUSE, "{pause:?}");
        }
        assert!(Pauses::new(Duration::ZERO).next(None).is_none());
    }

    #[test]
    fn what_the_service_asks_for_is_kept_within_the_patience() {
        let mut pauses = Pauses::new(Duration::from_secs(60));
        assert!(pauses.next(Some(Duration::from_secs(9))).unwrap() >= Duration::from_secs(9));
        assert!(pauses.next(Some(Duration::from_secs(61))).is_none());
        assert!(pauses.next(Some(Duration::ZERO)).unwrap() > Duration::ZERO, "no loop without a pause");
    }

    #[tokio::test]
    async fn turns_are_spread_evenly() {
        let (pace, begun) = (Pace::new(Some(60 * 20)), Instant::now());
        for _ in 0..5 {
            pace.turn().await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    }
}
