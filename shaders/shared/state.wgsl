// What the device remembers between training steps. Mirrors `State` in src/train/layout.rs.
struct State {
    step: u32,            // updates made so far = number of the batch being drawn
    halted: u32,          // 0, or 1 + the step at which loss or gradient stopped being finite
    correction1: f32,     // 1 − β1^t, by its recurrence
    correction2: f32,     // 1 − β2^t
    learning_rate: f32,   // of the update being made
    gradient_scale: f32,  // min(1, clip / ‖g‖), or 1
    average_decay: f32,   // of the weight average
    padding: u32,
}
