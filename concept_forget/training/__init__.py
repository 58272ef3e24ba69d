"""What every weight update shares: batches, sequence scores, reference scores, fitting."""
