//! The Rust and the WGSL view of each struct that host and device share: the same size, and the same members at the
//! same places.

use std::mem::{offset_of, size_of};

use windfield::flow::{Drawing, Entropic, Problem, Slices};
use windfield::gpu::Variant;
use windfield::measure::bench::Chains;
use windfield::measure::evaluate::Part;
use windfield::model::NetworkTable;
use windfield::model::{Atlas, Rows};
use windfield::render::{Lic, Splat};
use windfield::sample::{Noise, Particle, Stage, Tableau};
use windfield::train::{Block, Chunk, Record, ScheduleConstants, State, Wave};

use crate::common::Report;

/// A member: its name, its offset and its size in bytes.
type Member = (String, usize, usize);

/// Total size and members of a struct as naga lays it out.
fn wgsl(variant: &Variant, name: &str) -> (usize, Vec<Member>) {
    let source = variant.source().unwrap_or_else(|error| panic!("{error}"));
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{}: {}", variant.label(), error.emit_to_string(&source)));
    let (_, structure) = (module.types.iter())
        .find(|(_, found)| found.name.as_deref() == Some(name))
        .unwrap_or_else(|| panic!("{} declares no struct {name}", variant.label()));
    let naga::TypeInner::Struct { members, span } = &structure.inner else {
        panic!("{name} of {} is no struct", variant.label());
    };
    let members = (members.iter())
        .map(|member| {
            let size = module.types[member.ty].inner.size(module.to_ctx());
            (member.name.clone().unwrap_or_default(), member.offset as usize, size as usize)
        })
        .collect();
    (*span as usize, members)
}

/// What is neither padding nor between members.
fn without_padding(members: Vec<Member>) -> Vec<Member> {
    members.into_iter().filter(|(name, ..)| !name.starts_with("padding")).collect()
}

/// The members of a Rust struct. A member that is left out of the list does not compile, since the pattern names all
/// of them.
macro_rules! members {
    ($type:ident { $($member:ident),* }) => {{
        #[allow(unused_variables, reason = "the pattern is there to name every member")]
        fn complete(value: &$type) -> Vec<Member> {
            let $type { $($member),* } = value;
            vec![$((stringify!($member).to_owned(), offset_of!($type, $member), size_of_val($member))),*]
        }
        (size_of::<$type>(), complete(&bytemuck::Zeroable::zeroed()))
    }};
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn rust_and_wgsl_agree_on_every_struct() {
    let draw = Variant::new("draw").part("PATH", "ot");
    let integrator = Variant::new("integrator").part("ACTIVATION", "silu");
    let twins = [
        (
            draw.clone(),
            "Chunk",
            members!(Chunk { seed, first_row, rows, data_rows, source_rows, batch, first_partial }),
        ),
        (
            draw,
            "State",
            members!(State {
                step,
                halted,
                correction1,
                correction2,
                learning_rate,
                gradient_scale,
                average_decay,
                padding
            }),
        ),
        (
            Variant::new("step"),
            "Schedule",
            members!(ScheduleConstants {
                learning_rate,
                warmup,
                steps,
                cosine,
                beta1,
                one_minus_beta1,
                beta2,
                one_minus_beta2,
                epsilon,
                weight_decay,
                clip,
                average_decay,
                batch,
                loss_partials,
                square_partials,
                ring
            }),
        ),
        (Variant::new("step"), "Record", members!(Record { loss, learning_rate, gradient_norm, halted })),
        (Variant::new("endpoints"), "Wave", members!(Wave { first_step, steps, rows, padding })),
        (Variant::new("gather"), "Block", members!(Block { first_row, rows, padding0, padding1 })),
        (
            Variant::new("assignment"),
            "Problem",
            members!(Problem {
                scale,
                stage,
                phase,
                epsilon,
                row,
                base,
                fresh,
                column,
                amount,
                popped,
                pushed,
                bids,
                start,
                tree,
                scans,
                excess,
                failed
            }),
        ),
        (
            Variant::new("sinkhorn_check"),
            "Entropic",
            members!(Entropic {
                epsilon,
                wanted,
                relaxation,
                error,
                before,
                ratio,
                mean_cost,
                iterations,
                since,
                stage,
                free,
                round,
                missed,
                failed
            }),
        ),
        (Variant::new("sinkhorn_swap"), "Drawing", members!(Drawing { seed, number, stride })),
        (
            Variant::new("marginal_merge"),
            "Slices",
            members!(Slices { first_row, rows, count, queries, begun, first_slice, padding }),
        ),
        (
            Variant::new("pairs"),
            "Part",
            members!(Part { first_row, last_row, first_column, last_column, scale, padding }),
        ),
        (
            Variant::new("lic"),
            "Lic",
            members!(Lic { size, scale, width, height, columns, rows, first_row, last_row, reach, step }),
        ),
        (
            Variant::new("splat"),
            "Splat",
            members!(Splat {
                matrix,
                shown,
                columns,
                rows,
                dim,
                states,
                count,
                state,
                part,
                near,
                range,
                padding
            }),
        ),
        (Variant::new("peak_flops"), "Chains", members!(Chains { iterations, a, b, padding })),
        (
            Variant::new("noise"),
            "Noise",
            members!(Noise { seed, first_row, rows, source_rows, deviation, block_first, block_rows }),
        ),
        (
            Variant::new("stage"),
            "Stage",
            members!(Stage {
                moment,
                h,
                noise,
                terms,
                rows,
                stride,
                output,
                node,
                step,
                seed,
                first_row,
                first_probe,
                period,
                padding,
                coefficients
            }),
        ),
        (
            Variant::new("adaptive").part("ACTIVATION", "silu"),
            "Particle",
            members!(Particle { t, h, error, status, accepted, rejected, output, after_rejection }),
        ),
        (
            integrator.clone(),
            "Tableau",
            members!(Tableau {
                seed,
                first_row,
                rows,
                first_step,
                steps,
                most_steps,
                outputs,
                t0,
                t1,
                relative,
                absolute,
                stride,
                padding,
                weights,
                nodes,
                error,
                dense,
                matrix
            }),
        ),
        (integrator, "Network", members!(NetworkTable { layers, padding, shape, outputs })),
        (
            Variant::new("linear_backward_input"),
            "Rows",
            members!(Rows { count, first_weight, slice_rows, slice_stride, period, first_gradient, padding }),
        ),
        (Variant::new("adamw").flag("TEXTURES", true), "Atlas", members!(Atlas { layers, padding, entries })),
    ];
    let mut report = Report::new();
    for (variant, name, (size, members)) in twins {
        let (wgsl_size, wgsl_members) = wgsl(&variant, name);
        report.equal(&format!("the size of {name}"), &[wgsl_size], &[size]);
        report.equal(
            &format!("the members of {name}"),
            &without_padding(wgsl_members),
            &without_padding(members),
        );
    }
    report.finish();
}
