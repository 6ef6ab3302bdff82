"""A plan in words: what a dry run prints."""

from __future__ import annotations

from capture import schema
from capture.run import Plan


def describe(plan: Plan) -> str:
    """Sizes, cameras, the token table of every prompt and what would be stored, as lines of text."""
    checkpoint, config, sizes = plan.checkpoint, plan.checkpoint.config, plan.sizes
    dtype = str(plan.choices.dtype).removeprefix("torch.")
    weights = _size(checkpoint.parameter_bytes(plan.choices.dtype))
    lines = [
        f"{checkpoint.name} ({checkpoint.kind} checkpoint)",
        f"  model     {config.vlm.depth} layers, {config.vlm.heads} heads, horizon {config.horizon}, "
        f"{config.denoise_steps} denoise steps; {weights} of weights in {dtype} on {plan.choices.device}",
    ]
    boxes = [
        checkpoint.preprocessing.picture(plan.observations[0].pictures[camera]).letterbox for camera in sizes.cameras
    ]
    for camera, (height, width), box in zip(sizes.cameras, sizes.pictures, boxes, strict=True):
        bars = 1 - box.rows * box.cols / schema.MODEL_PIXELS**2
        lines.append(
            f"  {camera:<9} {width} x {height} pixels, seen as {box.cols} x {box.rows} of 224 x 224 "
            f"({bars:.0%} letterbox bars)"
        )
    masked = [slot for slot in checkpoint.preprocessing.slots if slot not in sizes.cameras]
    if masked:
        lines.append(f"  masked    {', '.join(masked)} (no picture given)")
    lines.append(f"  tokenizer {plan.tokenizer.name}")
    lines += [f"  note      {sentence}" for sentence in checkpoint.inferred]
    seen: set[str] = set()
    for table in plan.tables:
        if table.text in seen:
            continue
        seen.add(table.text)
        lines += [
            "",
            f"{len(table.ids)} tokens of {table.text!r}",
            "    #      id  piece           role      word  state",
        ]
        for number, piece in enumerate(table.pieces):
            role = schema.ROLES[int(table.role[number])]
            word, state = int(table.word[number]), int(table.state_index[number])
            lines.append(
                f"  {number:>3}  {int(table.ids[number]):>6}  {piece!r:<14}  {role:<8}  "
                f"{word if word >= 0 else '':>4}  {state if state >= 0 else '':>5}".rstrip()
            )
    kept = "every row" if sizes.full else "rows of text and action tokens"
    lines += [
        "",
        f"{sizes.frames} frame{'s' * (sizes.frames != 1)} of {_size(plan.frame_bytes)}: {len(sizes.layers)} layers, "
        f"{len(sizes.steps)} denoise steps, {sizes.heads} heads, {kept}, weights as {plan.choices.store}; "
        f"{_size(plan.frame_bytes * sizes.frames)} in all",
    ]
    return "\n".join(lines)


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"
