"""A simulated platform: answers as the real one is known to, for invented students.

The map::

    command        the platform as a process of its own
    launch         that process, started and ended by `aims-server demo`
    platform       all of it behind a port, to start and stop
    handlers       HTTP in and out
    simulation     its state, and every control over it
    counters       counts of calls, and of those in flight
    socket_faults  what goes wrong on the socket
    wrong_answers  sound HTTP, wrong content
    scenarios      sets of faults to choose from by name
    faults         what goes wrong, and how often
    backend        the answer to each call
    pages          quizzes and the month's table in the platform's shapes
    college        the college as the platform knows it: rows and tokens
    records        course files and cards in the platform's shapes
    samples        the students whom a demo offers
    enrolment      students, their courses and marks
    timetable      when classes are held
    tokens         the JWT of a login
    shapes         odd rows, made from good ones
    switches       choices where the real platform is not known
    catalogue      invented names and courses

Nothing here is a real person, token or PIN.
"""
