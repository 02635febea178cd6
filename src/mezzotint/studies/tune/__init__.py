"""Which settings make the best pictures in a given time?"""
