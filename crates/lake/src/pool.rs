//! The memory that operators of queries share.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// Gives every operator that can spill an equal share of what those that cannot spill leave.
///
/// It differs from the library's own fair pool in one thing: a reservation that holds nothing yet has nothing to spill either, so that to refuse it
/// is to end the query. It is refused only when the pool itself is used up.
#[derive(Debug)]
pub(crate) struct SharedPool {
    size: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    spillers: usize,
    spillable: usize,
    unspillable: usize,
}

impl SharedPool {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a first reservation may reach beyond the pool, once all others have taken their shares.
    fn reach(&self) -> usize {
        self.size + self.size / 8
    }
}

impl MemoryPool for SharedPool {
    fn name(&self) -> &'static str {
        "shared"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.state().spillers += 1;
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            let mut state = self.state();
            state.spillers = state.spillers.saturating_sub(1);
        }
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let mut state = self.state();
        *state.of(reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut state = self.state();
        let held = state.of(reservation);
        *held = held.saturating_sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut state = self.state();
        let used = state.spillable + state.unspillable;
        let available = if reservation.size() == 0 {
            self.reach().saturating_sub(used)
        } else if reservation.consumer().can_spill() {
            let share = self.size.saturating_sub(state.unspillable) / state.spillers.max(1);
            share.saturating_sub(reservation.size())
        } else {
            self.size.saturating_sub(used)
        };
        if additional > available {
            let name = reservation.consumer().name();
            let text = format!("`{name}` asks for {additional} bytes beside its {}, {available} are left", reservation.size());
            return Err(DataFusionError::ResourcesExhausted(text));
        }
        *state.of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let state = self.state();
        state.spillable + state.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.size)
    }
}

impl State {
    fn of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        if reservation.consumer().can_spill() { &mut self.spillable } else { &mut self.unspillable }
    }
}

impl fmt::Display for SharedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes are used", self.reserved(), self.size)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn spillers_share_equally_and_a_first_reservation_gets_what_is_free() {
        let pool: Arc<dyn MemoryPool> = Arc::new(SharedPool::new(800));
        let spiller = |name: &str| MemoryConsumer::new(name).with_can_spill(true).register(&pool);
        let (a, b) = (spiller("a"), spiller("b"));
        a.try_grow(100).unwrap();
        a.try_grow(300).unwrap();
        assert!(a.try_grow(1).is_err(), "more than a half");
        b.try_grow(500).unwrap();
        assert!(b.try_grow(1).is_err());
        let fixed = MemoryConsumer::new("fixed").register(&pool);
        assert!(fixed.try_grow(1).is_err(), "the pool is used up");
        b.free();
        fixed.try_grow(200).unwrap();
        assert!(fixed.try_grow(201).is_err());
        a.free();
        b.try_grow(10).unwrap();
        assert!(b.try_grow(291).is_err(), "the unspillable part is taken off before the rest is shared");
        b.try_grow(290).unwrap();
        assert_eq!(pool.reserved(), 500);
    }
}
