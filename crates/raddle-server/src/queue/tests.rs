//! Batches, priorities, limits and cancellation, and no request lost or run twice
//! with many threads at both ends.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Item {
    name: usize,
    rows: usize,
    shape: u64,
    deadline: Option<Instant>,
}

impl Waiting for Item {
    fn rows(&self) -> usize {
        self.rows
    }

    fn shape(&self) -> u64 {
        self.shape
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
}

fn item(name: usize) -> Item {
    Item { name, rows: 1, shape: 0, deadline: None }
}

fn queue(batching: Batching, rows_max: usize) -> Arc<Queue<Item>> {
    Arc::new(Queue::new(batching, rows_max, 1))
}

/// Puts a request in and lets it stay.
fn push(queue: &Arc<Queue<Item>>, priority: u64, item: Item) -> Ticket<Item> {
    queue.push(priority, item).map_err(|(refusal, _)| refusal).expect("there is room")
}

fn names(taken: Option<Taken<Item>>) -> Vec<usize> {
    taken.expect("the queue is open").iter().map(|(_, item)| item.name).collect()
}

#[test]
fn batches_are_as_large_as_they_may_be() {
    let queue = queue(Batching::default(), 4);
    let _tickets: Vec<_> = (0..6).map(|name| push(&queue, 0, item(name))).collect();
    assert_eq!(names(queue.take()), [0, 1, 2, 3]);
    assert_eq!(names(queue.take()), [4, 5]);
    let large = Item { rows: 3, ..item(7) };
    let _more = [push(&queue, 0, Item { rows: 2, ..item(6) }), push(&queue, 0, large)];
    assert_eq!(names(queue.take()), [6], "2 + 3 rows are more than 4");
    assert_eq!(names(queue.take()), [7]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn without_batching_each_request_runs_alone() {
    let queue = queue(Batching { is_dynamic: false, ..Batching::default() }, 8);
    let _tickets = [push(&queue, 0, item(0)), push(&queue, 0, item(1))];
    assert_eq!(names(queue.take()), [0]);
    assert_eq!(names(queue.take()), [1]);
}

#[test]
fn other_shapes_wait_for_their_own_batch() {
    let queue = queue(Batching::default(), 8);
    let shaped = |name, shape| Item { shape, ..item(name) };
    let items = [shaped(0, 1), shaped(1, 2), shaped(2, 1), shaped(3, 2)];
    let _tickets: Vec<_> = items.into_iter().map(|item| push(&queue, 0, item)).collect();
    assert_eq!(names(queue.take()), [0, 2]);
    assert_eq!(names(queue.take()), [1, 3]);
}

#[test]
fn preferred_sizes_are_taken_when_they_are_reached() {
    let preferred_sizes = vec![2, 4];
    let queue = queue(Batching { preferred_sizes, ..Batching::default() }, 8);
    let _tickets: Vec<_> = (0..7).map(|name| push(&queue, 0, item(name))).collect();
    assert_eq!(names(queue.take()), [0, 1, 2, 3]);
    assert_eq!(names(queue.take()), [4, 5]);
    assert_eq!(names(queue.take()), [6]);
}

#[test]
fn high_priorities_go_first() {
    let batching = Batching { priority_levels: 3, default_priority: 2, ..Batching::default() };
    let queue = queue(batching, 1);
    let order = [(3, 0), (0, 1), (1, 2), (9, 3), (1, 4)];
    let _tickets: Vec<_> = order.map(|(level, name)| push(&queue, level, item(name))).into();
    let taken: Vec<usize> = (0..5).flat_map(|_| names(queue.take())).collect();
    assert_eq!(taken, [2, 4, 1, 0, 3]);
}

#[test]
fn a_full_queue_refuses_until_a_ticket_is_dropped() {
    let queue = queue(Batching { queue_size: 2, ..Batching::default() }, 8);
    queue.note_batch(1, Duration::from_millis(20));
    let first = push(&queue, 0, item(0));
    let _second = push(&queue, 0, item(1));
    let refused = queue.push(0, item(2)).map(drop).unwrap_err();
    assert_eq!(refused.0, Refusal::Full(Duration::from_millis(40)));
    drop(first);
    let _third = push(&queue, 0, item(2));
    assert_eq!(names(queue.take()), [1, 2]);
}

#[test]
fn a_deadline_that_cannot_be_met_is_refused_at_once() {
    let queue = queue(Batching::default(), 8);
    queue.note_batch(1, Duration::from_secs(5));
    let _first = push(&queue, 0, item(0));
    let deadline = Some(Instant::now() + Duration::from_secs(1));
    let refused = queue.push(0, Item { deadline, ..item(1) }).map(drop).unwrap_err();
    assert!(matches!(refused.0, Refusal::TooLate(wait) if wait == Duration::from_secs(5)));
}

#[test]
fn an_instance_waits_for_its_batch_to_fill() {
    let delay = Duration::from_secs(600);
    let queue = queue(Batching { delay, ..Batching::default() }, 3);
    let taker = thread::spawn({
        let queue = Arc::clone(&queue);
        move || names(queue.take())
    });
    // Whenever the third comes, the batch is full and goes long before the delay.
    let _tickets: Vec<_> = (0..3).map(|name| push(&queue, 0, item(name))).collect();
    assert_eq!(taker.join().expect("no panic"), [0, 1, 2]);
}

#[test]
fn the_delay_ends_the_wait() {
    let delay = Duration::from_millis(20);
    let queue = queue(Batching { delay, ..Batching::default() }, 3);
    let began = Instant::now();
    let _ticket = push(&queue, 0, item(0));
    assert_eq!(names(queue.take()), [0]);
    assert!(began.elapsed() >= delay);
}

#[test]
fn closing_drains_and_refuses() {
    let queue = queue(Batching { delay: Duration::from_secs(600), ..Batching::default() }, 8);
    let _ticket = push(&queue, 0, item(0));
    queue.close();
    assert_eq!(names(queue.take()), [0]);
    assert!(queue.take().is_none());
    assert_eq!(queue.push(0, item(1)).map(drop).unwrap_err().0, Refusal::Closed);
}

#[test]
fn nothing_is_lost_or_run_twice() {
    const PRODUCERS: usize = 4;
    const EACH: usize = 2_000;
    let delay = Duration::from_micros(50);
    let queue = queue(Batching { delay, ..Batching::default() }, 7);
    let seen: Arc<Vec<AtomicUsize>> = Arc::new((0..PRODUCERS * EACH).map(|_| 0.into()).collect());
    let takers: Vec<_> = (0..3)
        .map(|_| {
            let (queue, seen) = (Arc::clone(&queue), Arc::clone(&seen));
            thread::spawn(move || {
                while let Some(taken) = queue.take() {
                    assert!(taken.len() <= 7);
                    for (_, item) in taken {
                        seen[item.name].fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut tickets = Vec::new();
                for at in 0..EACH {
                    let mut wanted = item(producer * EACH + at);
                    wanted.shape = (at % 3) as u64;
                    loop {
                        match queue.push(0, wanted) {
                            Ok(ticket) => break tickets.push(ticket),
                            Err((Refusal::Full(_), item)) => wanted = item,
                            Err((refusal, _)) => panic!("{refusal:?}"),
                        }
                    }
                }
                tickets
            })
        })
        .collect();
    let tickets: Vec<_> = producers.into_iter().map(|it| it.join().expect("no panic")).collect();
    queue.close();
    takers.into_iter().for_each(|taker| taker.join().expect("no panic"));
    drop(tickets);
    assert!(seen.iter().all(|count| count.load(Ordering::Relaxed) == 1));
}
