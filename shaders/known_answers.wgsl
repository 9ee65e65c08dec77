// Random123's known-answer test of the generator, on the device: one invocation a counter and key.

//#include "shared/philox.wgsl"

struct Question {
    counter: vec4u,
    key: vec2u,
    rows: u32,      // to pick one from
    padding: u32,
}

struct Answer {
    words: vec4u,
    normals: vec4f,
    picked: u32,
    padding0: u32,
    padding1: u32,
    padding2: u32,
}

@group(0) @binding(0) var<storage, read> questions: array<Question>;
@group(0) @binding(1) var<storage, read_write> answers: array<Answer>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < arrayLength(&questions)) {
        let question = questions[id.x];
        let words = philox4x32(question.counter, question.key);
        answers[id.x] = Answer(words, normals(words), pick_row(words.x, words.y, question.rows), 0u, 0u, 0u);
    }
}
