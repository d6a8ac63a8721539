//! Refreshing a query's stored result: which groups of it a change to its inputs can touch, and how to compute only those.
//!
//! [`Witness`] rewrites the plan so that it runs over the changed rows and yields, for some of the columns, every value that a row which came
//! or went can have. The rows of the result with such values, its *groups*, are then deleted and computed again: [`Groups`] is a filter on
//! the query that the optimizer pushes down as far as it commutes with the operators, so that the correctness of a refresh does not rest
//! on how far it gets. [`apart`] lets one query serve many workspaces.

mod apart;
mod forecast;
mod groups;
mod join;
mod refusal;
mod shape;
mod values;
mod witness;

#[cfg(test)]
mod tests;

use apart::WORKSPACE;
pub use apart::apart;
pub use forecast::forecast;
pub use groups::{Collected, Groups, Skipping, restricted};
pub use refusal::{Refusal, Refused};
pub use witness::{ChangedRows, Witness};
