"""A service of several processes: one that computes, others that answer, and their parent."""
