"""Counts in the text of compiled programs."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks.hlo import count, count_all_reduces

PROGRAM = """\
HloModule example, is_scheduled=true

%fused (p.1: f32[8,4], q.1: f32[8,4]) -> (f32[8,4], f32[]) {
  %p.1 = f32[8,4]{1,0} parameter(0)
  %q.1 = f32[8,4]{1,0} parameter(1)
  %add.1 = f32[8,4]{1,0} add(%p.1, %q.1)
  %constant.1 = f32[] constant(0)
  ROOT %tuple.1 = (f32[8,4]{1,0}, f32[]) tuple(%add.1, %constant.1)
}

%body (b: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %b = (s32[]{:T(128)}, f32[8,4]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%b), index=0
  %x = f32[8,4]{1,0:T(8,128)} get-tuple-element(%b), index=1
  %all-reduce.1 = f32[8,4]{1,0} all-reduce(%x), replica_groups={{0,1}}, to_apply=%sum
  ROOT %tuple.2 = (s32[], f32[8,4]{1,0}) tuple(%i, %all-reduce.1)
}

%condition (c: (s32[], f32[8,4])) -> pred[] {
  %c = (s32[]{:T(128)}, f32[8,4]{1,0}) parameter(0)
  %limit = s32[]{:T(128)} constant(3)
  %j = s32[] get-tuple-element(%c), index=0
  ROOT %less = pred[] compare(%j, %limit), direction=LT
}

%short (s: f32[8,4]) -> f32[8,4] {
  ROOT %s = f32[8,4]{1,0} parameter(0)
}

%long (l: f32[8,4]) -> f32[8,4] {
  %l = f32[8,4]{1,0} parameter(0)
  %gather-start = (f32[8,4]{1,0}, f32[16,4]{1,0}) all-gather-start(%l), dimensions={0}
  %gather-done = f32[16,4]{1,0} all-gather-done(%gather-start)
  ROOT %copy.1 = f32[8,4]{1,0} copy(%l)
}

ENTRY %main (w: f32[8,4], u: pred[]) -> f32[8,4] {
  %w = f32[8,4]{1,0} parameter(0)
  %u = pred[] parameter(1)
  %fusion.1 = (f32[8,4]{1,0}, /*index=1*/f32[]) fusion(%w, %w), kind=kLoop, calls=%fused
  %y = f32[8,4]{1,0} get-tuple-element(%fusion.1), index=0
  %zero = s32[] constant(0)
  %start = (s32[], f32[8,4]{1,0}) tuple(%zero, %y)
  %while.1 = (s32[], f32[8,4]{1,0}) while(%start), condition=%condition, body=%bodyCOUNT
  %z = f32[8,4]{1,0} get-tuple-element(%while.1), index=1
  ROOT %choice = f32[8,4]{1,0} conditional(%u, %z, %z), branch_computations={%short, %long}
}
"""
ANNOTATED = ', backend_config={"known_trip_count":{"n":"5"}}'


@pytest.mark.parametrize(("annotation", "trips"), [("", 3), (ANNOTATED, 5)])
def test_loops_count_once_per_iteration_and_conditionals_by_their_longest_branch(annotation, trips):
    counts = count(PROGRAM.replace("COUNT", annotation), min_size=2)
    # A fusion, an all-reduce per iteration, and in the longer branch an all-gather and a copy.
    assert counts.kernels == 1 + trips + 2
    assert counts.collectives == {"all-reduce": (trips, trips * 128), "all-gather": (1, 256)}
    assert counts.reads == 32 * (1 + trips + 2)
    assert counts.writes == 32 * (1 + trips + 2 + 1)  # the gathered array is twice as large
    assert counts.copies == 32


def test_copies_to_the_memory_on_chip_are_reads_and_not_kernels():
    counts = count(
        """\
ENTRY %main (w: f32[8,4]) -> f32[4,4] {
  %w = f32[8,4]{1,0:T(8,128)} parameter(0)
  %cs = (f32[8,4]{1,0:T(8,128)S(1)}, f32[8,4]{1,0:T(8,128)}, u32[]{:S(2)}) copy-start(%w)
  %cd = f32[8,4]{1,0:T(8,128)S(1)} copy-done(%cs)
  %ss = ((f32[8,4]{1,0}), f32[4,4]{1,0:S(1)}, s32[]{:S(2)}) slice-start(%w), slice={[0:4], [0:4]}
  %sd = f32[4,4]{1,0:S(1)} slice-done(%ss)
  %scale = f32[]{:T(128)} constant(2)
  %root = f32[]{:T(128)} sqrt(%scale)
  ROOT %fusion.1 = f32[4,4]{1,0} fusion(%cd, %sd, %root), kind=kLoop, calls=%fused
}
""",
        min_size=2,
    )
    assert counts._replace(reads=0) == (1, 0, 16, 0, {})
    assert counts.reads == 32 + 16


def test_all_reduces_of_a_compiled_loop():
    def step(x):
        return jax.lax.fori_loop(0, 4, lambda i, x: jax.lax.pmean(jnp.sin(x), "data"), x)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("data")
    mapped = jax.shard_map(step, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
    compiled = jax.jit(mapped).lower(jnp.ones(8)).compile()
    assert count_all_reduces(compiled.as_text()) == 4
