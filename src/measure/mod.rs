//! What is measured beside training and sampling: the theorems of flow matching, on the device at hand, and how fast
//! that device does its work.

pub mod bench;
pub mod verify;
