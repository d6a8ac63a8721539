//! The crate through its public API: the contract of catalogs for each adapter, and the files that are shipped.

// `cfg(test)` tells clippy that the functions beside the tests are test code too.
#[cfg(test)]
mod json_stub;
#[cfg(test)]
mod shipped;
