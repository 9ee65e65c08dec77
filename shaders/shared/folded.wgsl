// Where a group of four of a long list lies in the texture that holds the list: one row of FOLDED groups after the other.
// Mirrors FOLDED in src/gpu/matrix.rs.
const FOLDED: u32 = 1024u;

fn folded(at: u32) -> vec2u {
    return vec2u(at % FOLDED, at / FOLDED);
}
