"""The same work, sagas of three no-op steps, with Baton, the bus alone, Celery and DBOS (`./run bench`)."""
