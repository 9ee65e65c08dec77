#![doc = include_str!("guide.links.md")]
#![doc = include_str!("../docs/README.md")]
//
// The pages are those of docs/, as a code host shows them. There, names lead to files, by the definitions at the end of
// each page. Here they lead to items and chapters: of two definitions of a name the first one counts, and that is in
// guide.links.md. tests/docs.rs holds the two against each other.

/// A page of docs/.
macro_rules! pages {
    ($($name:ident: $file:literal;)*) => {
        $(
            #[doc = include_str!("guide.links.md")]
            #[doc = include_str!(concat!("../docs/", $file))]
            pub mod $name {}
        )*
    };
}

pages! {
    flows: "1-flows.md";
    likelihood: "2-likelihood.md";
    marginals: "3-marginals.md";
    losses: "4-losses.md";
    paths: "5-paths.md";
    straight: "6-straight.md";
    conversions: "7-conversions.md";
    couplings: "8-couplings.md";
    measures: "9-measures.md";
    lab: "10-lab.md";
    conditions: "11-conditions.md";
    tables: "12-tables.md";
    exchange: "13-exchange.md";
    pictures: "14-pictures.md";
    browser: "15-browser.md";
    gallery: "gallery.md";
    choosing: "choosing.md";
    conventions: "conventions.md";
    scale: "scale.md";
    performance: "performance.md";
}
