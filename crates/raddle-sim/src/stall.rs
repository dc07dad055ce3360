//! Who waits where, for the report of a launch that cannot go on.

use crate::cluster::{Cluster, Wait};
use crate::fault::{Fault, ThreadGroup, WaitGroup};
use crate::meeting::Lanes;
use crate::threads;

impl Cluster {
    /// The fault of a cluster in which nothing can run, or in which the running
    /// thread has come to a barrier from the wrong place.
    pub fn stall_fault(&self, blocks_unstarted: u64) -> Fault {
        let mut is_at_barrier = false;
        let mut is_polling = false;
        for (_, wait) in self.waits() {
            is_at_barrier |= matches!(wait, Wait::Barrier { .. } | Wait::ClusterBarrier { .. });
            is_polling |= matches!(wait, Wait::Until { .. } | Wait::Yielded);
        }
        let (waiting, exited) = (self.wait_groups(), self.exited_groups());
        if is_at_barrier && !is_polling {
            Fault::DivergentBarrier { waiting, exited }
        } else {
            Fault::Deadlock { waiting, exited, blocks_unstarted }
        }
    }

    /// What each thread waits for that has started and cannot go on.
    fn waits(&self) -> impl Iterator<Item = (usize, Wait)> {
        let ready = self.state.borrow().ready.clone();
        let waits = self.slots.iter().map(|slot| slot.wait.get()).enumerate();
        waits.filter(move |&(thread, _)| !threads::contains(&ready, thread))
    }

    /// Who waits where, grouped by place.
    fn wait_groups(&self) -> Vec<WaitGroup> {
        let mut groups: Vec<WaitGroup> = Vec::new();
        for (thread, wait) in self.waits() {
            let (what, at) = match wait {
                Wait::Unstarted | Wait::Nothing | Wait::Exited => continue,
                Wait::Barrier { id, at } => (format!("barrier {id}"), Some(at)),
                Wait::ClusterBarrier { at } => ("the cluster barrier".to_owned(), Some(at)),
                Wait::Lanes { lanes: Lanes::Warp { mask, .. }, at } => {
                    (format!("a warp operation over {mask:#010x}"), Some(at))
                }
                Wait::Lanes { lanes: Lanes::Warps { count, .. }, at } => {
                    (format!("an operation of {count} warps"), Some(at))
                }
                Wait::Until { what, at } => (what.to_owned(), Some(at)),
                Wait::Yielded => ("a spin that yields".to_owned(), None),
            };
            let (rank, in_block) = self.locate(thread);
            let block = self.block_indices[rank as usize].get();
            let same = |group: &&mut WaitGroup| {
                group.at == at && group.what == what && group.group.block == block
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.group.push(in_block),
                None => {
                    let group = ThreadGroup { block, threads: vec![in_block..=in_block] };
                    groups.push(WaitGroup { group, what, at });
                }
            }
        }
        groups
    }

    /// Who has exited, by block.
    fn exited_groups(&self) -> Vec<ThreadGroup> {
        let mut groups: Vec<ThreadGroup> = Vec::new();
        for (thread, slot) in self.slots.iter().enumerate() {
            if !matches!(slot.wait.get(), Wait::Exited) {
                continue;
            }
            let (rank, in_block) = self.locate(thread);
            let block = self.block_indices[rank as usize].get();
            match groups.last_mut() {
                Some(group) if group.block == block => group.push(in_block),
                _ => groups.push(ThreadGroup { block, threads: vec![in_block..=in_block] }),
            }
        }
        groups
    }
}
