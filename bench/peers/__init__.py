"""What the service is measured beside, each as its own documentation runs it in
production. They have no limiter, metrics, request ids, deadlines or access log.
"""
