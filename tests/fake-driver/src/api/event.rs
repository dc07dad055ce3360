//! Events.

use crate::handles::{
    CAPTURED_EVENT, Handle, INVALID_HANDLE, INVALID_VALUE, Kind, NOT_READY, Out, Result,
};
use crate::objects::{Event, Mark};
use crate::races::Clock;
use crate::work::Work;
use crate::world::Locked;

const DISABLE_TIMING: u32 = 2;

pub(crate) fn create(world: &mut Locked, event: Out<Handle>, flags: u32) -> Result {
    let context = world.current()?;
    if flags > 7 {
        return Err(INVALID_VALUE);
    }
    let handle = world.handle(Kind::Event);
    let has_timing = flags & DISABLE_TIMING == 0;
    world.events.insert(handle, Event { context, has_timing, mark: Mark::None, reached_ns: None });
    event.set(handle)
}

/// The event, if it is one of the current context.
fn find(world: &mut Locked, handle: Handle) -> Result<Mark> {
    let context = world.current()?;
    let found = world.events.get(&handle).map(|event| (event.context, event.mark.clone()));
    let (of, mark) = world.check(found, handle)?;
    if of == context { Ok(mark) } else { Err(INVALID_HANDLE) }
}

pub(crate) fn destroy(world: &mut Locked, event: Handle) -> Result {
    let found = world.events.remove(&event);
    world.check(found, event)?;
    world.current().map(|_| ())
}

pub(crate) fn record(world: &mut Locked, event: Handle, stream: Handle) -> Result {
    find(world, event)?;
    let slot = world.slot(stream)?;
    let mark = match &world.streams[slot].capture {
        Some(capture) => Mark::Capture { id: capture.id, frontier: capture.frontier.clone() },
        None => {
            let number = world.streams[slot].enqueued + 1;
            world.push(slot, Work::Mark { event, number }, Vec::new());
            let clock = world.streams[slot].clock.clone();
            Mark::Stream { stream: slot, number, clock }
        }
    };
    if let Some(event) = world.events.get_mut(&event) {
        event.mark = mark;
        event.reached_ns = None;
    }
    world.nudge();
    Ok(())
}

/// The place that an event marks outside captures.
fn place(mark: Mark) -> Result<Option<(usize, u64, Clock)>> {
    match mark {
        Mark::None => Ok(None),
        Mark::Stream { stream, number, clock } => Ok(Some((stream, number, clock))),
        Mark::Capture { .. } => Err(CAPTURED_EVENT),
    }
}

pub(crate) fn query(world: &mut Locked, event: Handle) -> Result {
    let mark = find(world, event)?;
    world.forbid_in_capture()?;
    let Some((slot, number, clock)) = place(mark)? else { return Ok(()) };
    if !world.is_over(slot, number) {
        world.poke();
        world.current()?;
    }
    if !world.is_over(slot, number) {
        return Err(NOT_READY);
    }
    world.observe(&clock);
    Ok(())
}

pub(crate) fn synchronize(world: &mut Locked, event: Handle) -> Result {
    let mark = find(world, event)?;
    world.forbid_in_capture()?;
    let Some((slot, number, clock)) = place(mark)? else { return Ok(()) };
    let context = world.streams[slot].context;
    world.drive(context, |world| world.is_over(slot, number))?;
    world.observe(&clock);
    Ok(())
}

pub(crate) fn elapsed(
    world: &mut Locked,
    milliseconds: Out<f32>,
    start: Handle,
    end: Handle,
) -> Result {
    find(world, start)?;
    find(world, end)?;
    let (start, end) = (&world.events[&start], &world.events[&end]);
    let is_marked = |event: &Event| event.has_timing && !matches!(event.mark, Mark::None);
    if !is_marked(start) || !is_marked(end) {
        return Err(INVALID_HANDLE);
    }
    match (start.reached_ns, end.reached_ns) {
        (Some(start), Some(end)) => milliseconds.set((end as f32 - start as f32) * 1e-6),
        _ => Err(NOT_READY),
    }
}

pub(crate) fn wait(world: &mut Locked, stream: Handle, event: Handle, _flags: u32) -> Result {
    let mark = find_any(world, event)?;
    let slot = world.slot(stream)?;
    match mark {
        Mark::Capture { id, frontier } => world.join_capture(slot, id, &frontier),
        _ if world.streams[slot].capture.is_some() => {
            // Ends the capture, unless there is nothing to wait for.
            match mark {
                Mark::Stream { .. } => world.invalidate_capture(slot),
                _ => Ok(()),
            }
        }
        Mark::Stream { stream: of, number, clock } => {
            world.push_wait(slot, (of, number), &clock);
            world.nudge();
            Ok(())
        }
        Mark::None => Ok(()),
    }
}

/// An event of any context: streams may wait for events of other devices.
fn find_any(world: &mut Locked, handle: Handle) -> Result<Mark> {
    world.current()?;
    let found = world.events.get(&handle).map(|event| event.mark.clone());
    world.check(found, handle)
}
