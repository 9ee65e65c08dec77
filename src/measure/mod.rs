//! What is measured beside training and sampling: the theorems of flow matching, on the device at hand, how good and how
//! straight a model's flow is, and how fast that device does its work.

pub mod bench;
pub mod evaluate;
pub mod lab;
pub mod verify;
