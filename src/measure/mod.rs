//! What is measured beside training and sampling: the theorems of flow matching, on the device at hand.

pub mod verify;
