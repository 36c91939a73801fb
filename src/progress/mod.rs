//! How far each sink is: the ledger of what is done, and where that is stored.
//!
//! Knows nothing of what an event holds or how it is sent, only positions.

pub mod decoded;
pub mod files;
pub mod known;
pub mod ledger;
pub mod load;
pub mod pieces;
pub mod shapes;
pub mod store;
pub mod tables;
