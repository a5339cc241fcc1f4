"""What operators made at run time: kept in the store, copied in each worker."""
