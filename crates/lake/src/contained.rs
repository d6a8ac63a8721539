//! Futures of libraries that panic where they should fail.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread is caught and becomes an error; a panic hook has nothing to say of it then.
pub fn is_contained() -> bool {
    CONTAINED.with(Cell::get)
}

/// Runs `future`; a panic in it is given back instead of going on.
pub(crate) async fn contained<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| poll(future.as_mut(), context)).await
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>, context: &mut Context<'_>) -> Poll<Result<T, Box<dyn Any + Send>>> {
    let before = CONTAINED.with(|c| c.replace(true));
    let polled = catch_unwind(AssertUnwindSafe(|| future.poll(context)));
    CONTAINED.with(|c| c.set(before));
    match polled {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_and_later_ones_are_not_contained() {
        let failed = contained(async {
            assert!(is_contained());
            panic!("of a library");
        });
        assert!(failed.await.is_err());
        assert!(!is_contained());
        assert_eq!(contained(async { 7 }).await.unwrap(), 7);
    }
}
